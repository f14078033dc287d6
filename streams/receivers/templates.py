"""Templates of titles and texts, in the part of Jinja's language that can only show an alert.

A template is written by an operator, but shows names that come from anybody, and is rendered beside
the counting. So it is an expression of an alert and no program: what it may hold is listed here;
everything else is refused before it is compiled. There are no calls, assignments, macros, imports
or attributes of Python's objects; arithmetic is of numbers alone. Jinja's sandbox holds besides
(https://jinja.palletsprojects.com/en/stable/sandbox/), and an undefined name is an error.

The sandbox does not limit time and memory. Here only loops repeat anything, and each turn costs as
many steps as there are nodes in the loop; what filters and `~` read and make costs steps by its
length. So `MOST_STEPS` is an upper limit, and the output ends at the length that is asked for.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any, Literal, TypeAlias

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.exceptions import TemplateSyntaxError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from streams.terminal import abbreviated, printable

LONGEST_TEMPLATE = 4_096
"""Characters of a template."""
LONGEST_VALUE = 400
"""Characters of one value that a template shows; a longer one is cut in its middle."""
LONGEST_FILTERED = 65_536
"""Characters that a filter may make of a value."""
DEEPEST = 40
"""How deep expressions and blocks may be nested."""
MOST_STEPS = 50_000
"""Steps of one rendering at most."""
CHARACTERS_A_STEP = 16
"""How many characters a filter reads or makes in one step."""

CUT = "…"

NODES: frozenset[type[nodes.Node]] = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For),
        *(nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Getattr, nodes.Getitem),
        *(nodes.Slice, nodes.Filter, nodes.Test, nodes.Keyword, nodes.CondExpr),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.Concat),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Neg, nodes.Pos),
    }
)
"""What a template may be made of."""

TESTS = frozenset({"defined", "undefined", "none"})
LOOP = frozenset({"index", "index0", "revindex", "first", "last", "length"})
"""What a template may ask of `loop`."""

SPECIAL = frozenset({"self", "caller", "varargs", "kwargs"})
"""Names that mean something to Jinja."""

_UNDEFINED = re.compile(r"'(?P<name>\w+)' is undefined")
_EACH, _JOINED, _BUDGET, _ESCAPE = "_each", "_joined", "_budget", "_escape"


class TemplateError(ValueError):
    """A template that is refused, or that cannot be rendered: says why."""


Part: TypeAlias = Literal["title", "text"]


@dataclass(frozen=True, slots=True)
class TemplateFailure:
    """A template that could not be rendered, so that the kind's own text is sent.

    Attributes:
        part: which text it is of.
        reason: for people.
    """

    part: Part
    reason: str


class _Budget:
    """Counts what one rendering does."""

    def __init__(self) -> None:
        self._left = MOST_STEPS

    def take_characters(self, *values: object) -> None:
        """Count the texts among some values; each is counted, however short."""
        for value in values:
            length = len(value) if isinstance(value, str) else 0
            if length > LONGEST_FILTERED:
                raise TemplateError(
                    f"a filter or ~ makes more than {LONGEST_FILTERED:,} characters"
                )
            self.take(1 + length // CHARACTERS_A_STEP)

    def take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TemplateError(f"it takes more than {MOST_STEPS:,} steps")


def _percent(value: float, digits: int = 1) -> str:
    return f"{value:.{min(max(digits, 0), 9)}%}"


def _thousands(value: float) -> str:
    return f"{value:,}"


def _join(values: Iterable[object], by: str = ", ") -> str:
    parts, length = [], 0
    for value in values:
        parts.append(str(value))
        length += len(parts[-1]) + len(by)
        if length > LONGEST_FILTERED:
            raise TemplateError(f"a filter or ~ makes more than {LONGEST_FILTERED:,} characters")
    return by.join(parts)


def _replace(value: object, old: str, new: str) -> str:
    text = str(value)
    if not old:
        raise TemplateError("replace needs a text to look for")
    if len(text) + text.count(old) * len(new) > LONGEST_FILTERED:
        raise TemplateError(f"a filter or ~ makes more than {LONGEST_FILTERED:,} characters")
    return text.replace(old, new)


def _round(value: float, digits: int = 0) -> float:
    return round(value, min(max(digits, 0), 9)) if digits else round(value)


def _items(value: Mapping[str, object]) -> list[tuple[str, object]]:
    return list(value.items())


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{
        name: JINJA_FILTERS[name]
        for name in ("abs", "capitalize", "default", "first", "int", "last", "length", "lower")
    },
    **{name: JINJA_FILTERS[name] for name in ("trim", "truncate", "upper", "urlencode")},
    "items": _items,
    "join": _join,
    "percent": _percent,
    "replace": _replace,
    "round": _round,
    "thousands": _thousands,
}
"""The filters that there are: some of Jinja's, and `percent` and `thousands` for figures."""


class Template:
    """A template that has been found harmless.

    Args:
        source: its text.

    Raises:
        TemplateError: if it is refused.
    """

    def __init__(self, source: str) -> None:
        if len(source) > LONGEST_TEMPLATE:
            raise TemplateError(f"expected at most {LONGEST_TEMPLATE} characters")
        environment = _environment()
        try:
            tree = environment.parse(source)
            for node, depth in _walk(tree):
                _check(node, depth)
            code = environment.compile(_Counted().visit(tree))
        except TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno}: {error.message}") from error
        except (RecursionError, SyntaxError, MemoryError) as error:
            raise TemplateError("it is nested too deep") from error
        self._template = environment.template_class.from_code(environment, code, {})

    def render(
        self, values: Mapping[str, object], most: int, escape: Callable[[str], str] = str
    ) -> str:
        """Return the text for an alert.

        Args:
            values: what the names of the template stand for: texts, numbers, lists and mappings.
            most: characters of the text, in UTF-16; a longer one is cut, and not within a value.
            escape: applied to each value that is shown, so that none is more than text; what the
                template itself says is left as it is. Without one the text can be cut anywhere.

        Raises:
            TemplateError: if that goes wrong, in whatever way.
        """
        context = self._template.new_context({**values, _BUDGET: _Budget(), _ESCAPE: escape})
        try:
            chunks = self._template.root_render_func(context)
            return _cut(chunks, most, anywhere=escape is str)
        except TemplateError:
            raise
        except JinjaError as error:
            raise TemplateError(_hinted(error, values)) from error
        except Exception as error:
            # Whatever it is, the alert has to be told.
            raise TemplateError(f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=256)
def compiled(source: str) -> Template:
    """Return the template with a text; one that is asked for again is not compiled again.

    Raises:
        TemplateError: if it is refused.
    """
    return Template(source)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, without a way to any attribute of Python's objects."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Work out two numbers."""
        for value in (left, right):
            if not isinstance(value, int | float):
                self._raise_if_undefined(value)
                raise TemplateError(f"{operator} is for numbers; ~ joins texts")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return what a mapping has under a name; of anything else there are no attributes."""
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self._missing(obj, attribute)
        if isinstance(obj, LoopContext) and attribute in LOOP:
            return getattr(obj, attribute)
        self._raise_if_undefined(obj)
        return self._missing(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return what a mapping has under a key, or the item of a list."""
        if isinstance(obj, Mapping) and isinstance(argument, str):
            return self.getattr(obj, argument)
        if isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except IndexError:
                return self._missing(obj, str(argument))
        self._raise_if_undefined(obj)
        return self._missing(obj, str(argument))

    def _missing(self, obj: Any, name: str) -> Undefined:
        hint = f"there is no {name!r}"
        if isinstance(obj, Mapping):
            hint += _near(name, obj)
        elif obj is None:
            hint += ", as what it is asked of is null for some alerts"
        return self.undefined(hint)

    @staticmethod
    def _raise_if_undefined(value: Any) -> None:
        if isinstance(value, Undefined):
            str(value)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        finalize=_shown,
        autoescape=False,
        # Nothing is worked out before there is something that counts it.
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
    )
    environment.filters = {name: _counted(each) for name, each in FILTERS.items()}
    environment.filters |= {_EACH: _each, _JOINED: _counted(lambda texts: _join(texts, ""))}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


@pass_context
def _shown(context: Context, value: object) -> str:
    """Return a value as it is shown: null as nothing, a text printable and not too long."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        if isinstance(value, Undefined):
            str(value)
        raise TemplateError("a list or mapping cannot be shown: name a part of it, or use a loop")
    escape: Callable[[str], str] = context[_ESCAPE]
    # What is not printable gets longer, so it is cut twice.
    text = printable(abbreviated(str(value), LONGEST_VALUE))
    return escape(abbreviated(text, LONGEST_VALUE))


@pass_context
def _each(context: Context, values: object, nodes_of_loop: int) -> Iterator[object]:
    """Return what a loop goes through, counted."""
    if not isinstance(values, Mapping | list | tuple):
        if isinstance(values, Undefined):
            str(values)
        raise TemplateError("a loop is for lists and mappings")
    budget: _Budget = context[_BUDGET]
    return _counting(values, budget, nodes_of_loop)


def _counting(values: Iterable[object], budget: _Budget, steps: int) -> Iterator[object]:
    for value in values:
        budget.take(steps)
        yield value


def _counted(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that counts what it reads and makes, and whose result has a bound."""
    takes_environment = hasattr(filter_, "jinja_pass_arg")

    @pass_context
    @wraps(filter_, updated=())
    def use(context: Context, *arguments: Any, **named: Any) -> Any:
        budget: _Budget = context[_BUDGET]
        budget.take_characters(*arguments)
        if takes_environment:
            result = filter_(context.environment, *arguments, **named)
        else:
            result = filter_(*arguments, **named)
        budget.take_characters(result)
        return result

    return use


def _walk(tree: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    """Yield each node with its depth, without recursion."""
    left = [(tree, 0)]
    while left:
        node, depth = left.pop()
        yield node, depth
        left += [(child, depth + 1) for child in node.iter_child_nodes()]


def _check(node: nodes.Node, depth: int) -> None:
    """Refuse what is not listed.

    Raises:
        TemplateError: names it, and its line.
    """
    place = f"line {node.lineno}: "
    if type(node) not in NODES:
        raise TemplateError(f"{place}{type(node).__name__.lower()} is not possible in a template")
    if depth > DEEPEST:
        raise TemplateError(f"{place}it is nested more than {DEEPEST} deep")
    match node:
        case nodes.Name(name=name) if name.startswith("_") or name in SPECIAL:
            raise TemplateError(f"{place}{name} is not possible as a name")
        case nodes.Filter(name=name) if name not in FILTERS:
            raise TemplateError(f"{place}there is no filter {name}{_near(name, FILTERS)}")
        case nodes.Test(name=name) if name not in TESTS:
            raise TemplateError(f"{place}there is no test {name}, only {', '.join(sorted(TESTS))}")
        case nodes.For(recursive=True):
            raise TemplateError(f"{place}a loop cannot be recursive")


class _Counted(NodeTransformer):
    """Has the turns of loops counted, and the texts that `~` joins."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - by the node's name
        size = sum(1 for _ in _walk(node))
        self.generic_visit(node)
        node.iter = _filtered(node.iter, _EACH, nodes.Const(size))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 - the same
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes), _JOINED)


def _filtered(node: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(
        node,
        name,
        list(arguments),
        [],
        None,
        None,
        lineno=node.lineno or 1,
        environment=_environment(),
    )


def _cut(chunks: Iterable[str], most: int, *, anywhere: bool) -> str:
    """Join chunks up to a length, and take the last one apart only if that may be anywhere."""
    kept: list[str] = []
    length = 0
    for chunk in chunks:
        length += _length(chunk)
        if length > most:
            parts = [*kept, *(chunk if anywhere else ())]
            return _beginning(parts, most - len(CUT)).strip() + CUT
        kept.append(chunk)
    return "".join(kept).strip()


def _beginning(parts: Iterable[str], most: int) -> str:
    """Return as many of the first parts as there is room for."""
    kept: list[str] = []
    for part in parts:
        most -= _length(part)
        if most < 0:
            break
        kept.append(part)
    return "".join(kept)


def _length(text: str) -> int:
    """Return how many characters a text has in UTF-16, in which some of the kinds' APIs count."""
    if text.isascii():
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)


def _hinted(error: JinjaError, known: Mapping[str, object]) -> str:
    """Return what an error says, with the name that may have been meant by an undefined one."""
    message = str(error.message)
    found = _UNDEFINED.fullmatch(message)
    return message + (_near(found["name"], known) if found else "")


def _near(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f", did you mean {near[0]}?" if near else ""
