"""Names in memory, as the API is given them."""

from streams.api.context import KnownNames
from streams.domain.names import NameBook, Names, checked
from streams.errors import UserError


class MemoryNames:
    """Names that are written nowhere. Set `fails` to have every write fail with it.

    Attributes:
        is_read: whether the book has all that there are.
    """

    def __init__(self, book: NameBook) -> None:
        self.book = book
        self.is_read = True
        self.fails: UserError | None = None

    @classmethod
    def of(cls, names: Names) -> KnownNames:
        """Return what the API is given."""
        return KnownNames(cls(names.campaigns), cls(names.apps))

    async def set(self, its_id: str, name: str) -> str:
        name = checked(name)
        self.book.check_room(its_id)
        self._write(its_id, b'{"name": "%s"}' % name.encode())
        return name

    async def remove(self, its_id: str) -> str | None:
        name = self.book.of(its_id)
        self._write(its_id, None)
        return name

    def _write(self, its_id: str, value: bytes | None) -> None:
        if self.fails is not None:
            raise self.fails
        self.book.restore(its_id.encode(), value)
