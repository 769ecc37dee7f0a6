# The service as a container. docs/service.md says how to run it, and compose.yaml does.
#
#     docker build -t edgeskin .
#
# A build for use names the digest of the base: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/kiosk.txt requirements/
# pip stays outside the environment that is shipped.
RUN python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt && \
    python -m venv --without-pip /opt/edgeskin && \
    /opt/build/bin/pip --python /opt/edgeskin/bin/python install --no-cache-dir --no-deps --only-binary :all: \
        --require-hashes -r requirements/kiosk.txt
COPY deploy/remove-unused.sh deploy/
RUN sh deploy/remove-unused.sh /opt/edgeskin/lib/python3*/site-packages/openvino
COPY pyproject.toml README.md LICENSE LICENSE-WEIGHTS.md ./
COPY edgeskin edgeskin
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels . && \
    /opt/build/bin/pip --python /opt/edgeskin/bin/python install --no-cache-dir --no-deps /wheels/edgeskin-*.whl

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="edgeskin" \
      org.opencontainers.image.description="Skin-lesion assessment on a CPU. Research software, not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-edgeskin-weights" \
      edgeskin.weights.licence="non-commercial: see LICENSE-WEIGHTS.md in the folder dist-info of edgeskin"
COPY --from=build /opt/edgeskin /opt/edgeskin
# No file is written: not by Python, not by OpenBLAS, and the root may be read-only.
ENV PATH=/opt/edgeskin/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# A host that is not loopback needs tokens. Without the file the service does not start.
CMD ["edgeskin", "serve", "--host", "0.0.0.0", "--tokens", "/run/secrets/edgeskin-tokens"]
