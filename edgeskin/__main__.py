from edgeskin.cli.main import main

main()
