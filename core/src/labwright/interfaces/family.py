"""Components that a library has by the hundred, found by its own names: `torch/*`, `timm/*`, `torchmetrics/*`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False, repr=False)
class Family(Mapping[str, type[Any]]):
    """What a library has under names, each a class derived from `member` that is made when it is first asked for.

    `names` lists them; `find` gives the library's class for a name, and arguments that stand beside the user's options:
    they are the `library` and the `defaults` of the class that is made, and `label` is the name.

    Raises KeyError for a name that isn't among them.

    Example: `OPTIMIZERS = lw.Family("timm", list_optimizers, find, LibraryOptimizer)`
    """

    domain: str
    names: Callable[[], Iterable[str]]
    find: Callable[[str], tuple[Callable[..., Any], Mapping[str, Any]]]
    member: type[Any]  # whose settings those of every name are
    _made: dict[str, type[Any]] = field(default_factory=dict, init=False)

    def schema_of_names(self) -> dict[str, Any]:
        """The JSON Schema of its names: only the library knows them, and may take seconds to import."""
        return {"type": "string", "pattern": f"^{self.domain}/[^/]+$"}

    def __getitem__(self, name: str) -> type[Any]:
        if name not in self._made:
            if name not in set(self.names()):
                raise KeyError(name)
            library, defaults = self.find(name)
            members = {"label": f"{self.domain}/{name}", "library": staticmethod(library), "defaults": defaults}
            members |= {"__doc__": library.__doc__, "__module__": self.member.__module__}
            # a class of its own, as a class is what the registry hands out and what a signature is read from
            self._made[name] = type(name, (self.member,), members)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.names()))

    def __len__(self) -> int:
        return len(list(self.names()))
