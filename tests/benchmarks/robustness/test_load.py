"""Growth of memory, worked by hand; and short runs on the micro-bundle."""

from pathlib import Path

import pytest

from benchmarks.robustness.load import assess, found, generate, growth, in_a_process, load
from edgeskin.errors import PhotoError
from edgeskin.photo.decode import load_photo


def test_growth_is_between_the_tenths_after_the_warm_up_and_at_the_end() -> None:
    # 20 samples: two of warm-up, then 0.5 MB more for each 10 done.
    samples = [(10 * place, 500.0 if place < 3 else 100 + place / 2) for place in range(1, 21)]
    values = growth(samples)
    assert values["first_mb"] == pytest.approx((101.5 + 102) / 2)
    assert values["last_mb"] == pytest.approx((109.5 + 110) / 2)
    assert values["growth_mb"] == pytest.approx(8)
    assert values["slope_mb_per_1000"] == pytest.approx(50)
    assert values["highest_mb"] == 110


def test_one_high_sample_is_no_growth() -> None:
    assert growth([(place, 900.0 if place == 99 else 100.0) for place in range(1, 101)])["growth_mb"] == 0


def test_pictures_are_spread_over_the_folder(lesion_folder: Path) -> None:
    everything = sorted(lesion_folder.rglob("*.png"))
    some = found(lesion_folder, 5)
    assert (some[0], some[-1], len(set(some))) == (everything[0], everything[-1], 5)
    assert found(lesion_folder, 10_000) == everything


def test_every_tenth_generated_picture_is_damaged(tmp_path: Path) -> None:
    paths = generate(tmp_path, 20, (64, 128))
    assert {path.suffix for path in paths} == {".jpeg", ".png", ".webp", ".bmp"}
    for place, path in enumerate(paths):
        if place % 10 == 9:
            with pytest.raises(PhotoError):
                load_photo(path, 64)
        else:
            photo = load_photo(path, 64)
            assert 64 <= min(photo.width, photo.height) <= max(photo.width, photo.height) <= 128


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux")
@pytest.mark.parametrize(("work", "count"), [(assess, 60), (load, 6)])
def test_a_short_run(shared_micro_bundle: Path, tmp_path: Path, work: object, count: int) -> None:
    values = in_a_process(work, shared_micro_bundle, generate(tmp_path, 12, (64, 128)), count)  # type: ignore[arg-type]
    assert (values["work"], values["count"]) == (work.__name__, count)  # type: ignore[attr-defined]
    assert [done for done, _ in values["samples"]] == list(range(1, count + 1))
    assert all(20 < memory < 2000 for _, memory in values["samples"])
