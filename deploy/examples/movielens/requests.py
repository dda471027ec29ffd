"""Writes calls for decant-load from MovieLens-100k, as JSON lines: for each of some users one Rank call with 100 films
and one Score call with 8 rows.

usage: requests.py DATASET_FOLDER USERS > calls.jsonl
"""

import json
import random
import sys
from pathlib import Path


def table(path: Path) -> list[dict[str, str]]:
    """Rows of a tab-separated file whose header names are typed, such as `age:token`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [name.split(":")[0] for name in lines[0].split("\t")]
    return [dict(zip(names, line.split("\t"))) for line in lines[1:]]


def user_columns(user: dict[str, str]) -> dict[str, list]:
    return {
        "user_id": [user["user_id"]],
        "age": [int(user["age"])],
        "gender": [user["gender"]],
        "occupation": [user["occupation"]],
    }


def item_columns(items: list[dict[str, str]]) -> dict[str, list]:
    return {
        "item_id": [item["item_id"] for item in items],
        "year": [int(item["release_year"]) for item in items],
        "genres": [item["class"].split() for item in items],
    }


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    users = table(folder / "ml-100k.user")
    items = [item for item in table(folder / "ml-100k.item") if item["release_year"].isdigit()]
    chosen = random.Random(1)
    for user in chosen.sample(users, count):
        query = user_columns(user)
        films = [item["item_id"] for item in chosen.sample(items, 100)]
        print(json.dumps({"rank": {"query": query, "items": films}, "top_k": 10}))
        rows = {name: values * 8 for name, values in query.items()}
        print(json.dumps({"score": rows | item_columns(chosen.sample(items, 8))}))


if __name__ == "__main__":
    main()
