"""Protocol `select particles`: raw particles by score, by rank and by classes, every attribute as it was."""

import math

import numpy as np
import pytest

from polardenoise.tests import scipion_project

from pwem.protocols import ProtSubSet  # isort: skip
from pyworkflow.object import RELATION_SOURCE, RELATION_TRANSFORM  # isort: skip

from polardenoise.convert.selection import ScoredParticles, choose_particles
from polardenoise.tests.selection.selection_runs import (
    CLASSES,
    SCORED,
    SCORES,
    check_raw,
    make_denoised,
    make_raw,
    prepare,
    select,
)

pytestmark = pytest.mark.usefixtures("project")


def test_by_score_the_raw_particles_of_the_run_before(project, raw, denoised):
    """The raw set is found by itself; nothing of its particles changes, random halves included."""
    run = select(
        project, {"inputParticles": (denoised, "outputParticles")}, useMinScore=True, minScore=0.5
    )
    expected = [number for number in SCORED if SCORES[number] >= 0.5]
    assert 0 < len(expected) < len(SCORED)
    check_raw(run, raw, expected)
    text = "\n".join(run.summary())
    assert f"*{len(expected)} of {len(SCORED)}* raw particles kept: " in text
    assert f"{len(SCORED) - len(expected)} score less than 0.5" in text
    halves = [item.getAttributeValue("_rlnRandomSubset") for item in run.outputParticles]
    assert f"Random halves: {halves.count(1)} and {halves.count(2)}." in text
    assert run.summary()[-1].startswith("*Next*: look whether")
    assert f"{len(expected)} of {len(SCORED)} raw particles" in run._methods()[0]
    made_from = {
        (row["name"], row["object_parent_id"], row["object_parent_extended"])
        for row in project.mapper.getRelationsByCreator(run)
    }
    assert made_from == {
        (RELATION_TRANSFORM, raw.getObjId(), "outputParticles"),
        (RELATION_SOURCE, raw.getObjId(), "outputParticles"),
        (RELATION_SOURCE, denoised.getObjId(), "outputParticles"),
    }


def test_by_rank_the_best_of_the_picked_classes(project, raw, denoised, picked):
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "pickedClasses": (picked, "outputClasses"),
    }
    run = select(project, inputs, usePickedClasses=True, useTopFraction=True, topFraction=0.5)
    among = [number for number in SCORED if CLASSES[number] in (2, 3)]
    best = sorted(among, key=SCORES.get, reverse=True)[: math.ceil(len(among) / 2)]
    check_raw(run, raw, best)
    text = "\n".join(run.summary())
    assert f"{len(SCORED) - len(among)} are in no picked class" in text
    assert f"{len(among) - len(best)} are not among the best 50%" in text


def test_classes_need_no_scores_and_drawn_halves_go_along(project, picked):
    """Whoever refines these particles splits them as they were split for denoising."""
    raw = make_raw(project, "without_halves", halves=False)
    denoised = make_denoised(project, raw, "unscored", scores=None)
    inputs = {
        "inputParticles": (denoised, "outputParticles"),
        "pickedClasses": (picked, "outputClasses"),
    }
    run = select(project, inputs, usePickedClasses=True)
    expected = [number for number in SCORED if CLASSES[number] in (2, 3)]
    check_raw(run, raw, expected, gained={"_rlnRandomSubset"})
    drawn = {item.getObjId(): item._rlnRandomSubset.get() for item in denoised.outputParticles}
    for item in run.outputParticles:
        assert item._rlnRandomSubset.get() == drawn[item.getObjId()]
    assert "(those drawn for denoising)" in "\n".join(run.summary())
    (error,) = prepare(project, inputs, useMinScore=True).validate()
    assert "have no scores" in error


def test_a_subset_of_the_denoised_from_a_larger_raw_set(project, raw, denoised):
    """Subsets keep the ids: the raw set is found through them, and what is not in the subset is not kept."""
    subset = scipion_project.run_protocol(
        project,
        ProtSubSet,
        {"inputFullSet": (denoised, "outputParticles")},
        selectIds=True,
        range=",".join(map(str, SCORED[:10])),
    )
    run = select(
        project,
        {"inputParticles": (subset, "outputParticles")},
        useTopFraction=True,
        topFraction=0.3,
    )
    check_raw(run, raw, sorted(SCORED[:10], key=SCORES.get)[-3:])
    assert "14 raw particles were not denoised" in "\n".join(run.summary())


def test_a_changed_threshold_replaces_the_output(project, raw, denoised):
    run = select(
        project, {"inputParticles": (denoised, "outputParticles")}, useMinScore=True, minScore=0.5
    )
    run.minScore.set(0.8)
    project.launchProtocol(run, wait=True)
    assert run.isFinished(), scipion_project.read_log(run)
    check_raw(run, raw, [number for number in SCORED if SCORES[number] >= 0.8])


def test_a_threshold_that_leaves_nothing_fails_and_says_the_best_score(project, picked):
    raw = make_raw(project, "low")
    scores = {number: SCORES[number] / 2 for number in SCORED}
    denoised = make_denoised(project, raw, "low_scores", scores=scores)
    inputs = {"inputParticles": (denoised, "outputParticles")}
    run = select(project, inputs, useMinScore=True, minScore=0.9, must_finish=False)
    assert run.isFailed()
    assert "the best score is 0.50" in run.getErrorMessage()
    assert list(run.iterOutputAttributes()) == []


def test_conditions_are_met_together_and_each_loss_is_counted_once():
    scored = ScoredParticles(
        np.arange(1, 7), np.array([0.9, 0.1, 0.5, 0.5, 0.8, 0.2]), np.array([1, 2] * 3)
    )
    choice = choose_particles(scored, 0.3, 0.5, np.array([1, 2, 3, 4]))
    # Of the four in the classes the best two, of equal scores the lower id.
    assert choice.kept.tolist() == [True, False, True, False, False, False]
    assert (choice.in_other_classes, choice.below_min_score, choice.below_top_fraction) == (2, 1, 1)
    assert choose_particles(scored, top_fraction=1.0).kept.all()
    gap = ScoredParticles(scored.ids, np.where(scored.ids == 4, np.nan, 0.5), scored.half)
    with pytest.raises(ValueError, match=r"1 of 6 .* the first is particle 4"):
        choose_particles(gap, 0.3)
    assert choose_particles(gap, class_ids=np.array([4])).kept.sum() == 1
