"""Join the sources: command line over environment over file over default."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from streams.configuration import strict_yaml
from streams.configuration.models import Configuration
from streams.configuration.problems import describe
from streams.configuration.sources import (
    CONFIG_VARIABLE,
    PREFIX,
    assign,
    prepare,
    split_keys,
    variables,
)
from streams.configuration.tree import Tree
from streams.errors import ConfigurationError

DEFAULT_FILE = Path("config/campaign-streams.yaml")
INCLUDE_VARIABLE = f"{PREFIX}INCLUDE"
MOST_PROBLEMS = 50
_INCLUDED = ("rules", "receivers")
_ALLOWED = " and ".join(_INCLUDED)


@dataclass(frozen=True)
class Loaded:
    """A configuration and where it came from: the file, if any, and environment variables."""

    configuration: Configuration
    file: Path | None
    variables: tuple[str, ...]


def load(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Configuration:
    """Load the configuration.

    Args:
        path: the file; None for `CAMPAIGN_STREAMS_CONFIG`, or else the default file if it exists.
        environ: the environment, for `CAMPAIGN_STREAMS_HTTP__PORT` and the like.
        overrides: values of the command line by dotted key, `http.port`. Text is read as in the
            environment, other values are taken as they are, None means that none was given.

    Raises:
        ConfigurationError: all problems, one a line.
    """
    return read(path, environ, overrides).configuration


def read(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Loaded:
    """Load the configuration as `load` does, and tell where it came from."""
    names = variables(environ)
    file = path or _default_file(environ)
    tree = strict_yaml.read_file(file) if file else Tree()
    if file:
        prepare(tree, file.parent)
    included = overrides.get("include") or environ.get(INCLUDE_VARIABLE) or tree.get(["include"])
    if isinstance(included, str | Path):
        _include(tree, Path(included))
    for name, keys in names.items():
        assign(tree, keys, environ[name], "environment", name)
    for option, value in overrides.items():
        if value is not None:
            assign(tree, split_keys(option), value, "command line", option)
    return Loaded(_validated(tree), file, tuple(names))


def _default_file(environ: Mapping[str, str]) -> Path | None:
    named = environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _include(tree: Tree, path: Path) -> None:
    included = strict_yaml.read_file(path)
    prepare(included, path.parent)
    tree.problems += included.problems
    for key, value in included.values.items():
        origin = included.origin([key])
        if key not in _INCLUDED:
            tree.problems.append(f"{origin}: {key} cannot be in an included file, only {_ALLOWED}")
        elif key in tree.values:
            first = tree.origin([key])
            tree.problems.append(f"{origin}: {key} is also in {first}, keep one of them")
        else:
            tree.values[key] = value
            tree.origins |= {
                keys: line for keys, line in included.origins.items() if keys[:1] == (key,)
            }


def _validated(tree: Tree) -> Configuration:
    problems = tree.problems
    try:
        configuration = Configuration.model_validate(tree.values)
    except ValidationError as error:
        # Not all: each unknown key is compared with all that are known.
        problems = [*problems, *islice(describe(error, tree), MOST_PROBLEMS + 1)]
    if problems:
        more = ["there are more problems"] if len(problems) > MOST_PROBLEMS else []
        raise ConfigurationError("\n".join(problems[:MOST_PROBLEMS] + more))
    return configuration
