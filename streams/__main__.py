"""`python -m streams` is `campaign-streams`."""

from streams.commands import main

if __name__ == "__main__":
    main()
