"""Step 3: a version that is there whole, and stays as it is."""

import json
from datetime import UTC, datetime

from store import Store, digest


def release(store: Store, version: str, files: dict[str, bytes]) -> None:
    """Write the files of a version, then the index: a version that it lists never changes."""
    index = store.json("versions.json") or {"latest": None, "versions": []}
    made = digest(files["datapackage.json"])
    for one in index["versions"]:
        if one["version"] == version and one["sha256"] == made:
            print(f"release  {version}: is out, as it is")
            return
        if one["version"] == version:
            raise SystemExit(
                f"Version {version} is out, and stays as it is. "
                "Give what is new another version in config.toml."
            )
    folder = f"v{version}"
    for path, content in files.items():
        store.write(f"{folder}/{path}", content)
    released = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"version": version, "path": folder, "released": released, "sha256": made}
    index = {"latest": version, "versions": [*index["versions"], entry]}
    store.write("versions.json", json.dumps(index, indent=1).encode())
    print(f"release  {version}: {len(files)} files")
