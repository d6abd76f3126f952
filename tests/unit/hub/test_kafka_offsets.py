"""How far a group is, asked of a coordinator that is just moving."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from hub import kafka
from streams.ports import Place


class Client:
    """A consumer whose group's coordinator refuses first, then answers: 7 for partition 0, nothing for the others."""

    def __init__(self, *refusals: int) -> None:
        self.refusals = list(refusals)

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """As confluent-kafka's."""
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.pop(0)))
        return [TopicPartition(place.topic, place.partition, -1001 if place.partition else 7) for place in places]


class Asked(kafka.Looker):
    """A looker with this client for every group."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def group(self, group: str) -> Client:  # type: ignore[override]
        """The client that asks for this group."""
        return self.client


def test_a_coordinator_that_moves_is_asked_again() -> None:
    """Moved, away, loading: none of them is an answer."""
    looker = Asked(Client(KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS))
    assert kafka.committed(looker, "group", [Place("t", 0), Place("t", 1)]) == {Place("t", 0): 7}
    assert not looker.client.refusals


def test_another_refusal_is_told() -> None:
    """What asking again does not mend comes out."""
    looker = Asked(Client(KafkaError.GROUP_AUTHORIZATION_FAILED))
    with pytest.raises(KafkaException):
        kafka.committed(looker, "group", [Place("t", 0)])


def test_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator that never comes is told after the time a broker has to answer."""
    monkeypatch.setattr(kafka, "TIMEOUT", 0.0)
    looker = Asked(Client(*[KafkaError.NOT_COORDINATOR] * 1000))
    with pytest.raises(KafkaException):
        kafka.committed(looker, "group", [Place("t", 0)])
    assert len(looker.client.refusals) > 900
