"""What several benchmarks read from the command line."""


def numbers(written: str) -> list[int]:
    """Read whole numbers with commas between them, such as 200,20_000.

    Raises:
        ValueError: one is no number.
    """
    return [int(part.replace("_", "")) for part in written.split(",")]
