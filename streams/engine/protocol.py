"""Requests of Kafka's protocol that aiokafka does not have, declared as their two schemas.

aiokafka negotiates between versions of a request, each with a class for what is sent and one for
what is answered. What is asked here exists in one version.
"""

from typing import Any, ClassVar

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Schema

NO_TAGS: dict[int, bytes] = {}
"""The tagged fields (KIP-482) of a struct that has none."""


class SingleVersionRequest(Request[RequestStruct]):  # type: ignore[misc] # aiokafka has no types
    """A request in the one version in which it is sent: a broker without that version is not asked.

    A subclass declares its API key and version, whether that version is flexible (KIP-482: headers
    with tagged fields), and the schemas of the request and of its response, as the message
    definitions of Apache Kafka (`clients/src/main/resources/common/message`) have them.

    Args:
        fields: the values of the request, in the order of its schema.
    """

    API_KEY: ClassVar[int] = -1
    API_VERSION: ClassVar[int]
    FLEXIBLE: ClassVar[bool] = False
    SCHEMA: ClassVar[Schema]
    RESPONSE_SCHEMA: ClassVar[Schema]
    REQUEST: ClassVar[type[RequestStruct]]
    """What is sent: made from the declarations above."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        api = {"API_KEY": cls.API_KEY, "API_VERSION": cls.API_VERSION}
        response = type(
            f"{cls.__name__}Response", (Response,), {**api, "SCHEMA": cls.RESPONSE_SCHEMA}
        )
        cls.REQUEST = type(
            f"{cls.__name__}Request",
            (RequestStruct,),
            {
                **api,
                "FLEXIBLE_VERSION": cls.FLEXIBLE,
                "SCHEMA": cls.SCHEMA,
                "RESPONSE_TYPE": response,
            },
        )
        cls._CLASSES = (cls.REQUEST,)

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        """Return the request as it is sent."""
        return request_struct_class(*self._fields)
