"""Recommends by the scorers of a cluster, as deploy/clients.md says a client should.

usage: client.py MODEL SCORER[,SCORER...] COLUMN=VALUE...

An integer becomes an int64, anything else a string. Prints a line for each item: its id and its score.
"""

import random
import sys
import time

import grpc
from decant.scorer.v1 import scorer_pb2

RECOMMEND = "/decant.scorer.v1.ScorerService/Recommend"
# Whether an attempt may be made again, and where, follows from its code.
ELSEWHERE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
ATTEMPTS = 4
PAUSE = 0.005


class Scorer:
    """One scorer: its channel, and how busy it said it was."""

    def __init__(self, address: str):
        self.address = address
        self.load = 0.0
        self.recommend = grpc.insecure_channel(address).unary_unary(
            RECOMMEND,
            request_serializer=scorer_pb2.RecommendRequest.SerializeToString,
            response_deserializer=scorer_pb2.RecommendResponse.FromString,
        )


class Scorers:
    """All scorers of a cluster."""

    def __init__(self, addresses: list[str], client: str):
        self.scorers = [Scorer(address) for address in addresses]
        self.metadata = [("decant-client", client)]

    def recommend(self, request, routing_key: str, timeout: float = 0.5):
        """One deadline holds for all attempts, and each scorer is told what is left of it."""
        deadline = time.monotonic() + timeout
        metadata = [*self.metadata, ("decant-routing-key", routing_key)]
        tried: list[Scorer] = []
        for attempt in range(ATTEMPTS):
            scorer = self.pick(tried)
            tried.append(scorer)
            try:
                left = deadline - time.monotonic()
                answer = scorer.recommend(request, timeout=left, metadata=metadata)
                scorer.load = answer.served_by.load
                return answer
            except grpc.RpcError as error:
                left = deadline - time.monotonic()
                if error.code() not in ELSEWHERE or attempt + 1 == ATTEMPTS or left <= PAUSE:
                    raise
            if len(tried) >= len(self.scorers):
                # All were asked: a pause before they are asked again.
                time.sleep(min(left, PAUSE * 2**attempt))
        raise AssertionError("the last attempt returns or raises")

    def pick(self, tried: list[Scorer]) -> Scorer:
        """The less busy of two that this call has not asked yet."""
        fresh = [scorer for scorer in self.scorers if scorer not in tried] or self.scorers
        return min(random.sample(fresh, min(2, len(fresh))), key=lambda scorer: scorer.load)


def column(name: str, value: str):
    if value.lstrip("-").isdigit():
        values = {"int64_values": scorer_pb2.Int64Values(values=[int(value)])}
    else:
        values = {"string_values": scorer_pb2.StringValues(values=[value])}
    return scorer_pb2.Column(name=name, **values)


def main() -> None:
    model, addresses, *query = sys.argv[1:]
    scorers = Scorers(addresses.split(","), client="example")
    request = scorer_pb2.RecommendRequest(
        model=scorer_pb2.ModelRef(model=model),
        query=[column(*pair.split("=", 1)) for pair in query],
        top_k=5,
    )
    answer = scorers.recommend(request, routing_key=query[0])
    for item in answer.items:
        print(f"{item.id} {item.score:.4f}")
    print(f"version {answer.served_by.version}", file=sys.stderr)


if __name__ == "__main__":
    main()
