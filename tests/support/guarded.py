"""A Kafka on which a user has only the rights that it is given."""

import argparse
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from streams.engine.cluster.rights import OPERATIONS, Right
from tests.support.brokers import KafkaBroker
from tests.support.ports import LOOPBACK, free_port

USER, PASSWORD = "campaign-streams", "secret"
KINDS = {"topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
ANY, ALLOW = 1, 3
LITERAL, PREFIXED = 3, 4
OPERATION_CODES = {"Read": 3, "Write": 4, "DescribeConfigs": 10}

Rules: TypeAlias = list[tuple[Any, ...]]
"""As the broker returns them: kind, name, pattern, principal, host, operation, permission."""


class GuardedKafka:
    """Kafka where clients without a name may do everything, and a user what it is given.

    `address` is for the former, `guarded_address` for the latter (SASL PLAIN).
    """

    def __init__(self) -> None:
        port, guarded, controller = free_port(), free_port(), free_port()
        self.guarded_address = f"{LOOPBACK}:{guarded}"
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        listeners = f"PLAINTEXT://{LOOPBACK}:{port},GUARDED://{LOOPBACK}:{guarded}"
        self.kafka = KafkaBroker(
            port,
            properties=f"""
listeners={listeners},CONTROLLER://{LOOPBACK}:{controller}
advertised.listeners={listeners}
controller.quorum.voters=1@{LOOPBACK}:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,GUARDED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
listener.name.guarded.sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config={login} user_{USER}="{PASSWORD}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
""",
        )

    @property
    def address(self) -> str:
        """host:port, for those who may do everything."""
        return self.kafka.address

    def settings(self) -> dict[str, Any]:
        """Return what the user's configuration says of Kafka."""
        sasl = {"mechanism": "PLAIN", "username": USER, "password": PASSWORD}
        return {"bootstrap_servers": [self.guarded_address], "sasl": sasl}

    async def grant(self, arguments: Sequence[str]) -> None:
        """Do what `kafka-acls.sh` does with these arguments: add rules for the user."""
        asked = _options().parse_args(arguments)
        assert asked.add
        assert asked.allow_principal == f"User:{USER}"
        pattern = {"literal": LITERAL, "prefixed": PREFIXED}[asked.resource_pattern_type]
        for kind, number in KINDS.items():
            for name in vars(asked).get(kind.replace("-", "_")) or ():
                for operation in asked.operation:
                    code = OPERATION_CODES[operation]
                    rule = (number, name, pattern, asked.allow_principal, "*", code, ALLOW)
                    await self.give([rule])

    async def take(self, right: Right) -> Rules:
        """Take a right from the user; return the rules that gave it."""
        operation = OPERATIONS[right.operation]
        filters = (KINDS[right.kind], right.name, ANY, f"User:{USER}", None, operation, ANY)
        answer = await self._request(DeleteAclsRequest(*filters))
        rules = [rule[2:] for found in answer.filter_responses for rule in found[2]]
        assert rules, f"nobody has {right}"
        return rules

    async def give(self, rules: Rules) -> None:
        """Give back what was taken."""
        for rule in rules:
            answer = await self._request(CreateAclsRequest(*rule))
            assert [code for code, *_ in answer.creation_responses] == [0]

    async def _request(self, request: Any) -> Any:
        client = AIOKafkaClient(bootstrap_servers=self.address)
        await client.bootstrap()
        try:
            return await client.send(client.get_random_node(), request)
        finally:
            await client.close()

    def __enter__(self) -> Self:
        self.kafka.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kafka.close()


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(allow_abbrev=False)
    options.add_argument("--bootstrap-server", required=True)
    options.add_argument("--add", action="store_true")
    options.add_argument("--allow-principal", required=True)
    options.add_argument("--operation", action="append", choices=OPERATION_CODES, required=True)
    options.add_argument("--resource-pattern-type", default="literal")
    for kind in ("topic", "group", "transactional-id"):
        options.add_argument(f"--{kind}", action="append")
    return options
