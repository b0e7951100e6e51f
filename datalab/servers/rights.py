"""Who may do what on the store, as on the SSP Cloud: buckets, people, policies."""

from collections.abc import Sequence
from typing import Any

STUDENT = "student"  # user name and, as on the SSP Cloud, name of the bucket
SCRATCH = "student-scratch"
COLLEAGUE = "colleague"
COURSE_DATA = "donnees-insee"
PROJECT_BUCKET = "projet-village"  # of student and colleague, named as on the SSP Cloud
EARTH_SCIENCE = "earth-science"

# The buckets of which each person may do everything.
OWN_BUCKETS = {STUDENT: (STUDENT, SCRATCH, PROJECT_BUCKET), COLLEAGUE: (COLLEAGUE, PROJECT_BUCKET)}


def policy(person: str, buckets: Sequence[str] = ()) -> dict[str, Any]:
    """What a person may do: the rights of a user of the SSP Cloud.

    Listing the buckets needs no rule: MinIO shows those that the caller may list as a
    whole, which leaves those of others out.

    Parameters
    ----------
    buckets
        Those of which the person may do everything; by default all of theirs.
    """
    own = {
        "Sid": "OwnBuckets",
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": [
            f"arn:aws:s3:::{bucket}{rest}"
            for bucket in buckets or OWN_BUCKETS[person]
            for rest in ("", "/*")
        ],
    }
    return {"Version": "2012-10-17", "Statement": [own, *OF_EVERYBODY]}


OF_EVERYBODY: list[dict[str, Any]] = [
    {
        "Sid": "ReadTheCourseData",
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"],
        "Resource": [
            f"arn:aws:s3:::{bucket}{rest}"
            for bucket in (COURSE_DATA, EARTH_SCIENCE)
            for rest in ("", "/*")
        ],
    },
    {
        "Sid": "ReadDiffusionOfEveryBucket",
        "Effect": "Allow",
        "Action": ["s3:GetObject"],
        "Resource": ["arn:aws:s3:::*/diffusion/*"],
    },
    {
        "Sid": "ListDiffusionOfEveryBucket",
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": ["arn:aws:s3:::*"],
        "Condition": {"StringLike": {"s3:prefix": ["diffusion", "diffusion/*"]}},
    },
]

# What everybody may read without a key, as on public buckets of scientific data.
EARTH_SCIENCE_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "AnonymousReadsPublic",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [
                f"arn:aws:s3:::{EARTH_SCIENCE}/{prefix}*" for prefix in ("public/", "public-")
            ],
        },
        {
            "Sid": "AnonymousListsPublic",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{EARTH_SCIENCE}"],
            "Condition": {"StringLike": {"s3:prefix": ["public/*", "public-*"]}},
        },
    ],
}

SCRATCH_LIFECYCLE = {
    "Rules": [
        {
            "ID": "delete-after-7-days",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Days": 7},
        }
    ]
}

COLLEAGUE_OBJECTS = {
    "diffusion/README.md": "Everybody on the platform may read what stands under diffusion/.\n",
    "diffusion/villagers.csv": "name;occupation\nAsterix;warrior\nObelix;menhir delivery man\n",
    "notes/private.md": "Nobody but the owner of this bucket reads this.\n",
}
