"""What a release writes and refuses, what is found in packages, and versions that stand twice."""

import datetime
import io
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from plain import plain

import fastloss as fl
from tools import package, release

pytestmark = plain

ROOT = Path(__file__).parent.parent
DAY = datetime.date(2030, 1, 2)
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A loss.

## [0.1.0] - 2029-01-01

- The first one.
"""


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def git(root, *arguments):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


# -------------------------------------------------------------------------------------------------
# What stands twice


def test_versions_are_those_of_the_package():
    for name, place in release.PLACES.items():
        assert re.findall(place, text_of(name), re.MULTILINE) == [fl.__version__], name


def test_the_recipe_asks_for_what_the_package_asks_for():
    project = text_of("pyproject.toml")
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    (python,) = re.findall('^requires-python = "(.*)"$', project, re.MULTILINE)
    (build,) = re.findall(r'^requires = \["(.*)"\]$', project, re.MULTILINE)
    (summary,) = re.findall('^description = "(.*)"$', project, re.MULTILINE)

    def requirements(lines):
        return sorted(line.replace(" ", "") for line in lines)

    recipe = yaml.safe_load(text_of("conda/recipe.yaml"))
    asked = recipe["requirements"]
    run = [*re.findall('"(.*)"', block), f"python{python}"]
    assert requirements(asked["run"]) == requirements(run)
    assert requirements(asked["host"]) == requirements([f"python{python}", build, "pip"])
    assert recipe["about"]["summary"] == summary
    assert recipe["build"]["python"]["entry_points"] == ["fastloss = fastloss.cli:main"]
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["abstract"] == summary
    assert citation["license"] == recipe["about"]["license"] == "Apache-2.0"


def test_what_builds_the_recipe_reads_it():
    """Where it is installed, as `py-rattler-build`; to build it takes packages of a channel."""
    rattler_build = pytest.importorskip("rattler_build")
    recipe = rattler_build.Stage0Recipe.from_yaml(text_of("conda/recipe.yaml"))
    (rendered,) = recipe.render(rattler_build.VariantConfig())
    found = rendered.recipe.to_dict()
    assert found["package"] == {"name": "fastloss", "version": fl.__version__}
    assert found["build"]["noarch"] == "python"
    assert [set(test) for test in found["tests"]] == [{"python"}, {"script"}]


def test_classifiers_begin_with_the_oldest_python():
    project = text_of("pyproject.toml")
    minors = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", project)]
    assert f'requires-python = ">=3.{minors[0]}"' in project
    assert minors == list(range(minors[0], minors[-1] + 1))


# -------------------------------------------------------------------------------------------------
# A release


@pytest.fixture
def root(tmp_path):
    """A repository that has been released as 0.1.0, with a change."""
    texts = {name: text_of(name) for name in release.PLACES} | {release.CHANGELOG: CHANGELOG}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    for name, value in {"user.name": "A", "user.email": "a@b", "commit.gpgsign": "false"}.items():
        git(tmp_path, "config", name, value)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "all")
    git(tmp_path, "tag", "v0.1.0")
    return tmp_path


def everything(root):
    names = [*release.PLACES, release.CHANGELOG]
    return {name: (root / name).read_text(encoding="utf-8") for name in names}


def test_a_release_writes_its_version_and_heading_and_is_tagged(root):
    seen = []
    release.release(root, "0.2.0", DAY, lambda: bool(seen.append(everything(root))) or True)
    texts = everything(root)
    assert seen == [texts]  # what was checked is what is released
    assert '__version__ = "0.2.0"' in texts["src/fastloss/__init__.py"]
    assert yaml.safe_load(texts["CITATION.cff"])["version"] == "0.2.0"
    assert yaml.safe_load(texts["CITATION.cff"])["date-released"] == DAY
    assert yaml.safe_load(texts["conda/recipe.yaml"])["context"]["version"] == "0.2.0"
    assert "## [Unreleased]\n\n## [0.2.0] - 2030-01-02\n\n### Added\n" in texts["CHANGELOG.md"]
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "log", "-1", "--format=%s %D", "--decorate-refs=refs/tags").split() == [
        *("Version", "0.2.0"),
        *("tag:", "v0.2.0"),
    ]
    # Once more, at which nothing is new.
    with pytest.raises(release.Refused, match="no line under"):
        release.release(root, "0.3.0", DAY, lambda: True)


def test_a_release_that_fails_leaves_everything_as_it_was(root):
    before = everything(root)
    with pytest.raises(release.Refused, match="nothing was changed"):
        release.release(root, "0.2.0", DAY, lambda: False)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release.release(root, "0.2.0", DAY, interrupted)
    assert everything(root) == before
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "tag").split() == ["v0.1.0"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("", "VERSION is '', but must be three numbers"),
        ("0.2", "must be three numbers"),
        ("v0.2.0", "must be three numbers"),
        ("0.1.0", "0.1.0 has been released: VERSION must be larger"),
        ("0.0.9", "VERSION must be larger"),
    ],
)
def test_versions_that_cannot_be(root, version, message):
    with pytest.raises(release.Refused, match=message):
        release.release(root, version, DAY, lambda: True)


def test_changes_that_are_not_committed_are_no_release(root):
    (root / "CITATION.cff").write_text("other", encoding="utf-8")
    with pytest.raises(release.Refused, match="not committed"):
        release.release(root, "0.2.0", DAY, lambda: True)
    assert (root / "CITATION.cff").read_text(encoding="utf-8") == "other"


def test_what_must_be_there_before_a_publication_is_named(tmp_path):
    url = "https://example.org/fastloss"
    names = ("Source", "Documentation", "Changelog", "Issues")
    whole = {
        "pyproject.toml": "[project]\nname = 'fastloss'\n\n[project.urls]\n"
        + "".join(f'{name} = "{url}/{name}"\n' for name in names),
        "CITATION.cff": f'title: fastloss\nrepository-code: "{url}"\n',
        "conda/recipe.yaml": f"about:\n  homepage: {url}\n",
        "SECURITY.md": f"**How**: {url}/security\n",
        "README.md": f"[install](#install), [docs]({url}/docs)\n",
    }
    (tmp_path / "conda").mkdir()

    def lacking(**changed):
        for name, text in (whole | changed).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return release.unpublishable(tmp_path)

    assert lacking() == []
    for name in names:
        text = whole["pyproject.toml"].replace(f"{name} =", "Other =")
        assert lacking(**{"pyproject.toml": text}) == [
            f"pyproject.toml lacks {name} in [project.urls]"
        ]
    # Those of another table are none of the project.
    assert len(lacking(**{"pyproject.toml": whole["pyproject.toml"].replace("urls]", "x]")})) == 4
    assert lacking(**{"CITATION.cff": ""}) == ["CITATION.cff lacks repository-code"]
    assert lacking(**{"conda/recipe.yaml": ""}) == ["conda/recipe.yaml lacks homepage in about"]
    assert lacking(**{"SECURITY.md": "privately"}) == ["SECURITY.md lacks an address to report to"]
    assert lacking(**{"README.md": "[install](docs/install.md)"}) == [
        "README.md has relative links: docs/install.md"
    ]


# -------------------------------------------------------------------------------------------------
# Packages


def test_what_packages_lack_or_have_is_named(tmp_path):
    sdist, wheel = tmp_path / "fastloss-0.1.0.tar.gz", tmp_path / "fastloss-0.1.0-py3-none-any.whl"
    tracked = {"README.md", "src/fastloss/__init__.py", "src/fastloss/py.typed", ".ci/run"}
    with tarfile.open(sdist, "w:gz") as archive:
        for name in ("PKG-INFO", "README.md", "src/fastloss/__init__.py", "secret.txt"):
            archive.addfile(tarfile.TarInfo(f"fastloss-0.1.0/{name}"), io.BytesIO())
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE"):
            archive.writestr(f"fastloss-0.1.0.dist-info/{name}", "")
        for name in ("fastloss/__init__.py", "fastloss/py.typed", "tests/__init__.py"):
            archive.writestr(name, "")
    assert package.problems(wheel, sdist, tracked) == [
        f"{sdist.name} lacks src/fastloss/py.typed",
        f"{sdist.name} has secret.txt",
        f"{wheel.name} lacks fastloss-0.1.0.dist-info/entry_points.txt",
        f"{wheel.name} has tests/__init__.py",
    ]
