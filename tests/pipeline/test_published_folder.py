"""Which published model a folder holds: what the user says, and what its files say, in the record of its run."""

import shutil

from world import Notes, record_of

from xeval.results.records import ModelRecord
from xeval.results.store import load_run, save_record


def test_the_users_word_is_recorded_and_an_older_run_takes_it_over(finished, no_training, no_prediction):
    before = record_of(finished)
    assert before.model.published_id is None
    record = finished.run(models=[f"organisation/name={finished.model}"])
    assert (record.model.published_as, record.model.published_by) == ("organisation/name", "word")
    assert record == record_of(finished)  # on disk too
    assert record.model_copy(update={"model": before.model}) == before
    assert finished.run() == record  # who says nothing takes nothing back


def test_files_of_a_published_model_are_known_by_their_checksum(finished):
    """From a run of that model with other settings: one with the same would be this very run."""
    [folder] = finished.folders()
    run = load_run(folder)
    published = ModelRecord(**(run.record.model.model_dump() | {"id": "organisation/name", "origin": "hub"}))
    save_record(folder, run.record.model_copy(update={"model": published}))
    copy = shutil.copytree(finished.model, finished.folder / "my-copy")
    record = finished.run(models=[str(copy)], languages=["en"], seeds=[5], reporter=Notes())
    assert (record.model.id, record.model.origin) == ("my-copy", "local")
    assert (record.model.published_as, record.model.published_by) == ("organisation/name", "checksum")
    assert record.model.published_id == "organisation/name"
