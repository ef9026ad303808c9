"""Which published model a folder holds, by the user's claim or by its files, as the record of its run says."""

import shutil

from world import RECIPE, Notes, record_of

from xeval.results.records import ModelRecord
from xeval.results.store import load_run, save_record


def test_claimed_model_is_added_to_a_finished_run(finished, no_training, no_prediction):
    before = record_of(finished)
    assert before.model.published_id is None
    record = finished.run(models=[f"organisation/name={finished.model}"])
    assert (record.model.published_as, record.model.published_by) == ("organisation/name", "word")
    assert record == record_of(finished)  # on disk too
    assert record.model_copy(update={"model": before.model}) == before
    assert finished.run() == record  # leaving out the claim does not withdraw it


def test_published_model_is_recognised_by_checksum(finished):
    """Known from a run of that model with other settings; with the same settings it would be this very run."""
    [folder] = finished.folders()
    run = load_run(folder)
    published = ModelRecord(**(run.record.model.model_dump() | {"id": "organisation/name", "origin": "hub"}))
    save_record(folder, run.record.model_copy(update={"model": published}))
    copy = shutil.copytree(finished.model, finished.folder / "my-copy")
    record = finished.run(models=[str(copy)], languages=["en"], seeds=[5], reporter=Notes())
    assert (record.model.id, record.model.origin) == ("my-copy", "local")
    assert (record.model.published_as, record.model.published_by) == ("organisation/name", "checksum")
    assert record.model.published_id == "organisation/name"


def test_folder_trains_at_the_rate_of_its_published_model(empty):
    own_rate = f'{RECIPE}\n[learning_rate_by_model]\n"organisation/name" = 7e-4\n'
    (empty.folder / "brief.toml").write_text(own_rate)
    options = {"languages": ["en"]}
    unnamed = empty.run(**options)
    assert (unnamed.model.published_id, unnamed.recipe.values["learning_rate"]) == (None, 2e-3)
    claimed = empty.run(models=[f"organisation/name={empty.model}"], **options)
    assert (claimed.model.published_id, claimed.recipe.values["learning_rate"]) == ("organisation/name", 7e-4)
    assert claimed.recipe.overrides == {}
    again = empty.run(**options)  # what was said of these files still holds
    assert again == claimed
