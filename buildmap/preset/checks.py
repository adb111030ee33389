"""What values of a table have in common."""


def check_positive(table: object, *names: str) -> None:
    """Refuse values that are not above 0; one may be absent.

    Raises:
        ValueError: If one is not.
    """
    for name in names:
        value = getattr(table, name)
        if value is not None and not value > 0:
            raise ValueError(f"{name} {value} is not positive")
