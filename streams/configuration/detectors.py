"""The sections `detector` of rules: one model for each kind of detector, made from its settings."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, StrictBool, StrictFloat, StrictInt, create_model, model_validator

from streams.configuration.kinds import one_of
from streams.domain.detectors.detector import Detector
from streams.domain.detectors.registry import DETECTORS
from streams.domain.detectors.settings import Field as DetectorField
from streams.domain.detectors.settings import fields
from streams.settings import Duration, ProblemsError, Settings, Text

_TYPES: Mapping[type, Any] = {
    bool: StrictBool,
    int: StrictInt,
    float: StrictFloat,
    str: Text,
}


class DetectorSettings(Settings):
    """When counts are a breach, and when that is over: `kind` says which keys there are."""

    detector_type: ClassVar[type[Detector]]
    kind: str

    def detector(self) -> Detector:
        """Return the detector with these settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "kind"}
        return self.detector_type(**values)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = self.detector().problems()
        if problems:
            raise ProblemsError([((each.setting,), each.message) for each in problems])
        return self


def model_of(detector: type[Detector]) -> type[DetectorSettings]:
    """Return the model of the section for one kind of detector."""
    kind = detector.kind
    # Other names of pydantic's are positional, so a setting may have any name.
    keys: dict[str, Any] = {
        each.name: (_type_of(each), _field_of(each)) for each in fields(detector)
    }
    keys["kind"] = (Literal[kind], kind)
    model = create_model(
        f"{detector.__name__}Settings", __base__=DetectorSettings, __doc__=detector.__doc__, **keys
    )
    model.detector_type = detector
    return model


def _type_of(field: DetectorField) -> Any:
    return Duration if field.setting.unit == "seconds" else _TYPES[field.type]


def _field_of(field: DetectorField) -> Any:
    about = field.setting
    bounds: dict[str, Any] = {
        name: bound
        for name, bound in (
            ("ge", about.least),
            ("gt", about.above),
            ("le", about.most),
            ("lt", about.below),
        )
        if bound is not None
    }
    if field.type is float:
        bounds["allow_inf_nan"] = False
    if about.derived is None:
        return Field(default=field.default, **bounds)
    return Field(default_factory=_derived(about.derived), **bounds)


def _derived(derive: Callable[[Mapping[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    # pydantic tells a factory that takes the values before it by the number of its parameters.
    def factory(validated: dict[str, Any]) -> Any:
        return derive(validated)

    return factory


MODELS = tuple(model_of(detector) for detector in DETECTORS)
DEFAULT = MODELS[0].model_validate({})
"""The section of a rule that has none."""

if TYPE_CHECKING:
    AnyDetectorSettings: TypeAlias = DetectorSettings
else:
    AnyDetectorSettings = one_of(MODELS)
