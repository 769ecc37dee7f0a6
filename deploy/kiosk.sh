#!/bin/sh
# Show the page on the whole screen, from when the service is ready until the session ends.
#
#     sh kiosk.sh [ADDRESS]
#
# Run it as an ordinary user that serves no other purpose. chromium-policy.json lets the page use the camera.
# "#kiosk" makes the page hide what the policy forbids. Write "#token=TOKEN" after the address if the service asks for one.
set -eu
page=${1:-http://127.0.0.1:8000/}
case $page in
    *'#'*) shown="$page&kiosk" ;;
    *) shown="$page#kiosk" ;;
esac
ready="import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + 'readyz', timeout=2)"
until python3 -c "$ready" "${page%%#*}" 2>/dev/null; do
    sleep 1
done
# Chromium's children end a moment after it, and may write until then.
forget() {
    until rm -rf "$@" 2>/dev/null; do sleep 0.2; done
}
# XDG_RUNTIME_DIR is memory: nothing of a profile reaches the disk.
profile=$(mktemp -d "${XDG_RUNTIME_DIR:-/dev/shm}/edgeskin-kiosk.XXXXXX")
trap 'forget "$profile"' EXIT
trap 'kill "$browser"; wait "$browser" || true; exit 143' TERM INT HUP
while :; do
    chromium --kiosk --incognito --user-data-dir="$profile" --disk-cache-dir="$profile/cache" \
        --no-first-run --noerrdialogs --disable-session-crashed-bubble --disable-pinch \
        --overscroll-history-navigation=0 --disable-component-update --disable-background-networking \
        --password-store=basic --kiosk-printing "$shown" &
    browser=$!
    wait "$browser" || true
    forget "${profile:?}"/*
    sleep 1
done
