"""The synthetic hospital: the same seed makes the same records, and a copy that is not whole is found out."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing

import pytest

from holdfast.runs import hospital
from holdfast.testing.trees import capture

SIZE = hospital.HospitalSize(patients=6, days=2, messages_a_day=4, images=2, image_side=16, database_rows=50)


@pytest.fixture
def built(tmp_path):
    return hospital.build(tmp_path / "hospital", 5, SIZE)


def test_the_same_seed_makes_the_same_files(built, tmp_path):
    other = hospital.build(tmp_path / "other", 5, SIZE)
    hospital.pass_a_day(built, 0)
    hospital.pass_a_day(other, 0)
    one, two = (
        {path: item.digest for path, item in capture(root).items() if not path.startswith(b"ehr-live")}
        for root in (built.root, other.root)
    )
    assert one == two


def test_records_are_read_by_their_own_libraries(built):
    counts = hospital.count(built.root, built.database)
    assert (counts.messages, counts.images, counts.rows) == (8, 2, 50)
    assert counts.resources > 6 * 40


def test_a_copy_of_the_database_in_use_is_of_one_moment(built, tmp_path):
    copy = tmp_path / "copy.sqlite"
    with hospital.in_use(built):
        for _ in range(3):
            copy.write_bytes(subprocess.run(hospital.dump_command(built), capture_output=True, check=True).stdout)
            assert hospital.count(built.root, copy).rows == 50
    copy.write_bytes(hospital.copy_database(built.database))
    with closing(sqlite3.connect(copy)) as database:
        (moved,) = database.execute("SELECT count(*) FROM transfer").fetchone()
    assert moved > 0
    hospital.main(str(built.database), str(built.database_digest))
    assert len(built.database_digest.read_text()) == 64


def test_a_torn_database_is_found_out(built):
    with closing(sqlite3.connect(built.database)) as database, database:
        database.execute("UPDATE bed SET free = free + 1 WHERE ward = 0")
    with pytest.raises(hospital.NotAsItWasError, match="one moment"):
        hospital.count(built.root, built.database)


def test_a_failing_user_of_the_database_is_told(built):
    with closing(sqlite3.connect(built.database)) as database, database:
        database.execute("DROP TABLE transfer")
    with pytest.raises(sqlite3.Error, match="transfer"), hospital.in_use(built):
        pass


def test_a_message_under_another_name_is_found_out(built):
    message = next(built.messages.rglob("*.hl7"))
    message.rename(message.with_name("1234567890.hl7"))
    with pytest.raises(hospital.NotAsItWasError, match="control id"):
        hospital.count(built.root, built.database)


def test_an_image_that_lost_pixels_is_found_out(built):
    import pydicom

    image = next(built.images.rglob("*.dcm"))
    dataset = pydicom.dcmread(image)
    dataset.PixelData = dataset.PixelData[:-2]
    dataset.save_as(image)
    with pytest.raises(hospital.NotAsItWasError, match="pixels"):
        hospital.count(built.root, built.database)
