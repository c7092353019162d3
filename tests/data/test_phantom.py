"""The simulated radiographs: reproducible, physically sane, and not solvable by looking at single pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from experiments import pixel_baseline
from tl_jax.data.chest_phantom import PATIENTS, SEED, SIZE, films
from tl_jax.data.phantom import consolidation, physics, simulate, thorax
from tl_jax.data.phantom.patient import Patient, draw_patient, draw_pose

SEVERAL = range(3000, 3012)
SHOT = physics.Exposure(
    photons=1e6, scatter=0.0, blur=0.0, gamma=1.0, low=0.0, high=100.0, sharpen=0.0, tilt=(0.0, 0.0)
)


@pytest.fixture(scope="module")
def anatomies() -> list[tuple[Patient, thorax.Paths]]:
    found = []
    for number in SEVERAL:
        rng = np.random.default_rng(number)
        patient = draw_patient(rng)
        found.append((patient, thorax.project(patient, draw_pose(rng), 64)))
    return found


def test_a_patient_is_a_pure_function_of_seed_and_number() -> None:
    first, again = (list(simulate.images_of(7, 5, 48)) for _ in range(2))
    assert [shot.image.tobytes() for shot in first] == [shot.image.tobytes() for shot in again]
    other = next(simulate.images_of(8, 5, 48))
    assert not np.array_equal(first[0].image, other.image)


def test_a_film_is_independent_of_the_anatomy() -> None:
    """The first film once drew the patient's own random numbers again: women were portable, men were not."""
    female, portable = [], []
    for number in range(400):
        rng = np.random.default_rng([0, number])
        female.append(len(draw_patient(rng).breasts) > 0)
        portable.append(simulate.film_stream(0, number, 0).random() < 0.4)
    rates = [np.mean(np.array(portable)[np.array(female) == sex]) for sex in (True, False)]
    assert abs(rates[0] - rates[1]) < 0.15


def test_the_films_of_a_patient_differ_and_share_the_diagnosis() -> None:
    films = [list(simulate.images_of(0, number, 48)) for number in range(30)]
    assert {len(shots) for shots in films} == {1, 2, 3, 4}
    for shots in films:
        assert len({shot.label for shot in shots}) == 1
        assert len({shot.image.tobytes() for shot in shots}) == len(shots)
        assert [shot.number for shot in shots] == list(range(len(shots)))
    assert {shots[0].label for shots in films} == {simulate.NORMAL, simulate.PNEUMONIA}


def test_only_the_ill_have_fluid_in_the_lungs() -> None:
    shots = [shot for number in range(30) for shot in simulate.images_of(0, number, 48)]
    assert all((shot.severity > 0) == (shot.label == simulate.PNEUMONIA) for shot in shots)
    assert max(shot.severity for shot in shots) < 0.6


def test_pictures_use_the_range_of_bytes() -> None:
    for number in SEVERAL:
        image = next(simulate.images_of(0, number, 64)).image
        assert image.dtype == np.uint8
        assert image.shape == (64, 64)
        assert image.std() > 20


def test_organs_have_lengths_that_fit_a_chest(anatomies: list) -> None:
    for patient, paths in anatomies:
        for tissue in (paths.soft, paths.bone, paths.lung, paths.air, paths.vessels):
            assert tissue.shape == (64, 64)
            assert np.isfinite(tissue).all()
            assert (tissue >= 0).all()
        assert 8 < paths.lung.max() < 2.2 * patient.depth
        assert 0.1 < (paths.lung > 1).mean() < 0.7
        np.testing.assert_allclose(sum(paths.sides), paths.lung, atol=1e-4)
        # The upper abdomen has no lung, wherever the diaphragm stands.
        assert paths.lung[-3:].max() < 1


def test_fluid_never_exceeds_the_lung_that_it_fills(anatomies: list) -> None:
    for number, (_, paths) in enumerate(anatomies):
        rng = np.random.default_rng(number)
        fluid = consolidation.draw(rng, paths, (number % 2, 0.5, 0.5), 2.0)
        assert (fluid >= 0).all()
        assert (fluid <= paths.lung + 1e-5).all()
        assert fluid.max() > 0.5


def test_beer_lambert_without_scatter_blur_or_noise() -> None:
    line = np.linspace(0.0, 5.0, 32 * 32, dtype=np.float32).reshape(32, 32)
    seen = physics.expose(line, replace(SHOT, photons=1e12), np.random.default_rng(0), pixel=1.0)
    np.testing.assert_allclose(seen, line, atol=2e-3)


def test_attenuation_is_linear_in_centimetres() -> None:
    soft, bone, lung = (np.full((2, 2), value) for value in (10.0, 1.0, 12.0))
    expected = 10 * physics.SOFT + 1 * physics.BONE + 12 * physics.LUNG
    np.testing.assert_allclose(physics.attenuation(soft, bone, lung), expected)


def test_noise_falls_with_the_square_root_of_the_dose() -> None:
    line = np.ones((64, 64), np.float32)
    spread = [
        physics.expose(line, replace(SHOT, photons=dose), np.random.default_rng(1), pixel=1.0).std()
        for dose in (1e4, 1e6)
    ]
    assert spread[0] / spread[1] == pytest.approx(10, rel=0.05)


def test_scatter_lowers_contrast() -> None:
    line = np.zeros((64, 64), np.float32)
    line[24:40, 24:40] = 1.0
    clean, foggy = (
        physics.expose(line, replace(SHOT, photons=1e12, scatter=s), np.random.default_rng(0), pixel=0.5)
        for s in (0.0, 1.0)
    )
    assert np.ptp(foggy) < 0.8 * np.ptp(clean)


def test_disease_makes_the_picture_brighter_where_it_sits(anatomies: list) -> None:
    patient, paths = anatomies[0]
    fluid = consolidation.draw(np.random.default_rng(3), paths, (0, 0.5, 0.6), 2.0)
    quiet = replace(patient, mottle=0.0)
    well, ill = (
        simulate.picture(paths, amount, quiet, replace(SHOT, photons=1e12), np.random.default_rng(0)).astype(
            int
        )
        for amount in (np.zeros_like(fluid), fluid)
    )
    assert (ill - well)[fluid > 3].mean() > 10
    assert abs((ill - well)[fluid < 0.01].mean()) < 3


def test_a_stored_picture_is_found_again_with_its_consolidation() -> None:
    shots = [shot for number in (520, 521) for shot in simulate.images_of(SEED, number, SIZE)]
    names = [f"patient{number:04d}-{shot.number}" for number in (520, 521)
             for shot in simulate.images_of(SEED, number, SIZE)]  # fmt: skip
    for film, shot in zip(films(reversed(names)), reversed(shots), strict=True):
        np.testing.assert_array_equal(film.image, shot.image)
        np.testing.assert_array_equal(film.fluid, shot.fluid)
        assert (film.fluid.max() > 1) == (film.label == simulate.PNEUMONIA)
    with pytest.raises(ValueError, match=r"2 pictures are not of chest_phantom: p1, patient0520-9"):
        films([*names, "p1", "patient0520-9"])


def test_no_patient_number_is_in_two_splits() -> None:
    numbers = [number for span in PATIENTS.values() for number in range(*span)]
    assert len(numbers) == len(set(numbers))


@pytest.mark.slow
def test_pixels_alone_do_not_tell() -> None:
    """On the data set's own pictures; docs/pretraining.md has the figure for all of them."""
    spans = ((0, 240), (400, 460), (520, 640))
    train, val, test = (pixel_baseline.pictures(SEED, span, SIZE) for span in spans)
    assert pixel_baseline.measure(train, val, test)[0] < 0.9
