"""``python -m fuagent``: the command line, where no script is installed."""

from fuagent.cli import main

main()
