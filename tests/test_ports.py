"""The ports that tests choose for their servers."""

import multiprocessing

from tests.support.ports import free_port


def test_no_port_is_given_twice_before_anybody_listens_on_it() -> None:
    ports = [free_port() for _ in range(250)]
    assert len(set(ports)) == len(ports)


def test_nor_is_it_given_to_another_process() -> None:
    ours = {free_port() for _ in range(250)}
    with multiprocessing.get_context("spawn").Pool(1) as others:
        theirs = set(others.apply(_ports, (250,)))
    assert not ours & theirs


def _ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]
