"""The file of a bucket that a task is calibrated with."""

from __future__ import annotations

from pathlib import Path

from modelpress.domain.calibration import LARGEST_OBJECT_BYTES, CalibrationSource
from modelpress.domain.model import Location
from modelpress.domain.recipe import Recipe
from modelpress.errors import InvalidRequest
from modelpress.storage.bucket import Buckets

_FIELD = "config.calibration.objectPath"


def find_calibration(buckets: Buckets, recipe: Recipe, *, account_id: str) -> Path | None:
    """The file that the recipe names for this account; None where the text is from elsewhere.

    Raises: NoSuchBucket, NoSuchObject; InvalidRequest for a path that leaves the bucket.
    """
    calibration = recipe.calibration
    if calibration is None or calibration.source is not CalibrationSource.OBJECT:
        return None
    location = Location(bucket=calibration.bucket, path=calibration.object_path)
    return buckets.find_file(location, account_id=account_id, field=_FIELD)


def check_calibration(buckets: Buckets, recipe: Recipe, *, account_id: str) -> None:
    """Return if what the recipe is calibrated with is there and no larger than is read.

    Raises: what ``find_calibration`` does; InvalidRequest for a file that is empty or too large.
    """
    path = find_calibration(buckets, recipe, account_id=account_id)
    size_bytes = path.stat().st_size if path else 1
    if not 0 < size_bytes <= LARGEST_OBJECT_BYTES:
        raise InvalidRequest(_FIELD, f"the file has {size_bytes} bytes; from 1 to {LARGEST_OBJECT_BYTES} are taken")
