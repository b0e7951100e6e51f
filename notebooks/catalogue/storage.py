"""The catalogue on S3: ``catalog.json``, one collection, and a file for each item.

Each link from the collection to an item repeats the item's box and time. So one small
read is enough to search, and to know the extent of what is left when an item goes.
"""

import json
import posixpath
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import boto3
import pystac
from botocore.config import Config
from botocore.exceptions import ClientError

from catalogue.images import Refused, item_id, look

IN_FLIGHT = 16  # requests at once: each waits for the network, not for the processor


def client() -> Any:
    """A boto3 client for many small requests; address and keys are those of the environment."""
    settings = Config(
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=IN_FLIGHT,
        # With the checksum that boto3 adds to each upload, MinIO closes the connection after it,
        # and each file of a kilobyte costs a TLS handshake.
        request_checksum_calculation="when_required",
    )
    return boto3.client("s3", config=settings)


@dataclass(frozen=True)
class Report:
    """What became of some objects, by key.

    Parameters
    ----------
    catalogued, removed
        Keys that have an item now, and keys that have none (any more).
    refused
        The reason by key; they have no item either.
    """

    catalogued: list[str]
    removed: list[str]
    refused: dict[str, str]


@dataclass(frozen=True)
class Storage:
    """A bucket's images, and the catalogue that describes them.

    Only one process may write to a catalogue at a time: each write of the collection is
    a read, a change and a write, and the changes of a second writer would be lost.

    Parameters
    ----------
    s3
        A boto3 client.
    bucket
        Of images and catalogue.
    images, catalogue
        Prefixes in it, with a ``/`` at the end; neither within the other.
    """

    s3: Any
    bucket: str
    images: str
    catalogue: str

    @property
    def place(self) -> str:
        """Where the images are: bucket and prefix."""
        return f"{self.bucket}/{self.images}"

    @property
    def collection_key(self) -> str:
        """Key of ``collection.json``."""
        return f"{self.catalogue}images/collection.json"

    def item_key(self, identifier: str) -> str:
        """Key of an item's file."""
        return f"{self.catalogue}images/items/{identifier}.json"

    # -- what programs call ------------------------------------------------------------

    def update(self, keys: Iterable[str]) -> Report:
        """Make the items of these objects what the objects are now.

        Doing so again, in another order or after being killed half-way, ends the same.
        """
        items, report = self._look(sorted(set(keys)))
        links = {link["href"]: link for link in self._links()}
        for key in [*report.removed, *report.refused]:
            links.pop(self._link_to(key), None)
        links |= {link["href"]: link for link in map(self._link, items.values())}
        self._write(items, links)
        # removed from the collection first: no link ever leads nowhere
        self._each(self._delete, [self._key(key) for key in (*report.removed, *report.refused)])
        return report

    def rebuild(self) -> Report:
        """Make the catalogue anew from the listing of the bucket."""
        items, report = self._look(self._list(self.images))
        self._write(items, {link["href"]: link for link in map(self._link, items.values())})
        kept = {self.item_key(item.id) for item in items.values()}
        self._each(self._delete, set(self._list(self.item_key("").removesuffix(".json"))) - kept)
        return report

    # -- objects -----------------------------------------------------------------------

    def _look(self, keys: Iterable[str]) -> tuple[dict[str, pystac.Item], Report]:
        def one(key: str) -> tuple[str, pystac.Item | Refused | None]:
            try:
                return key, look(self.s3, self.bucket, key, self.images)
            except Refused as refusal:
                return key, refusal

        seen = dict(self._each(one, keys))
        items = {key: found for key, found in seen.items() if isinstance(found, pystac.Item)}
        for key, item in items.items():
            here = posixpath.dirname(self.item_key(item.id))
            item.assets["image"].href = quote(posixpath.relpath(key, here))
        refused = {key: str(found) for key, found in seen.items() if isinstance(found, Refused)}
        removed = [key for key, found in seen.items() if found is None]
        return items, Report(list(items), removed, refused)

    def _list(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    @staticmethod
    def _each(act: Callable, things: Iterable) -> list:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            return list(pool.map(act, things))

    # -- the catalogue -----------------------------------------------------------------

    def _key(self, key: str) -> str:
        return self.item_key(item_id(key.removeprefix(self.images)))

    def _link_to(self, key: str) -> str:
        return f"./items/{posixpath.basename(self._key(key))}"

    def _link(self, item: pystac.Item) -> dict[str, Any]:
        return {
            "rel": "item",
            "href": f"./items/{item.id}.json",
            "type": "application/geo+json",
            "title": item.properties["title"],
            "bbox": item.bbox,
            "datetime": item.to_dict(False)["properties"]["datetime"],
        }

    def _links(self) -> list[dict[str, Any]]:
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=self.collection_key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return []
        links = json.load(answer["Body"])["links"]
        return [link for link in links if link["rel"] == "item"]

    def _write(self, items: dict[str, pystac.Item], links: dict[str, dict[str, Any]]) -> None:
        self._each(self._write_item, items.values())
        ordered = [links[href] for href in sorted(links)]
        boxes = [link["bbox"] for link in ordered] or [[-180.0, -90.0, 180.0, 90.0]]
        times = [link["datetime"] for link in ordered] or [None]
        west, south, east, north = zip(*boxes, strict=True)
        collection = {
            "type": "Collection",
            "stac_version": pystac.get_stac_version(),
            "id": "images",
            "description": f"The images below {self.images}, each with an item.",
            "license": "other",
            "extent": {
                "spatial": {"bbox": [[min(west), min(south), max(east), max(north)]]},
                "temporal": {"interval": [[min(times), max(times)]]},
            },
            "links": [_to("root", "../catalog.json"), _to("parent", "../catalog.json"), *ordered],
        }
        root = {
            "type": "Catalog",
            "stac_version": pystac.get_stac_version(),
            "id": "catalogue",
            "description": "Written by a program that follows the bucket.",
            "links": [_to("root", "./catalog.json"), _to("child", "./images/collection.json")],
        }
        self._put(self.collection_key, collection)
        self._put(f"{self.catalogue}catalog.json", root)

    def _write_item(self, item: pystac.Item) -> None:
        content = item.to_dict(include_self_link=False, transform_hrefs=False)
        content["collection"] = "images"
        up = {"parent": "../collection.json", "collection": "../collection.json"}
        content["links"] = [_to(rel, up.get(rel, "../../catalog.json")) for rel in ("root", *up)]
        self._put(self.item_key(item.id), content, "application/geo+json")

    def _put(self, key: str, content: dict[str, Any], kind: str = "application/json") -> None:
        body = json.dumps(content, indent=1, ensure_ascii=False).encode()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=kind)

    def _delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)


def _to(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": "application/json"}
