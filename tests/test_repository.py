"""What GitHub and pre-commit read: valid YAML that names existing things, and the Python versions of pyproject.toml."""

import re

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.sources import repository_files

YAML = repository_files("*.yml", "*.yaml")


def read(name):
    return yaml.safe_load((REPOSITORY / name).read_text(encoding="utf-8"))


def steps(workflow):
    return [step for job in read(f".github/workflows/{workflow}.yml")["jobs"].values() for step in job["steps"]]


def test_the_expected_files_are_there():
    expected = {
        "tests.yml",
        "release.yml",
        "bug.yml",
        "feature.yml",
        "config.yml",
        ".pre-commit-config.yaml",
        "mkdocs.yml",
    }
    assert expected <= {name.rpartition("/")[2] for name in YAML}


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_valid(name):
    assert isinstance(read(name), dict)


def test_the_workflow_tests_the_python_versions_of_the_package():
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    promised = re.findall(r"Programming Language :: Python :: (3\.\d+)", project)
    tested = read(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert tested == promised
    assert f'requires-python = ">={promised[0]}"' in project


def test_the_workflow_runs_make_targets_that_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = [step["run"].split()[1] for step in steps("tests") if step.get("run", "").startswith("make ")]
    assert targets == ["test", "docs"]
    assert all(f"\n{target}:" in makefile for target in targets)


def test_only_the_publishing_job_may_publish_and_it_waits_for_tests_and_build():
    jobs = read(".github/workflows/release.yml")["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    assert jobs["publish"]["needs"] == ["tests", "build"]
    assert any("make test" in step.get("run", "") for step in jobs["tests"]["steps"])
    assert any("twine check --strict" in step.get("run", "") for step in jobs["build"]["steps"])


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_issue_forms_have_what_github_requires(form):
    content = read(f".github/ISSUE_TEMPLATE/{form}.yml")
    assert content["name"] and content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names) and all(field["attributes"]["label"] for field in fields)


def test_a_bug_report_asks_for_the_check():
    (field,) = (field for field in read(".github/ISSUE_TEMPLATE/bug.yml")["body"] if field.get("id") == "check")
    assert "ser-nnunet check" in field["attributes"]["label"] and field["validations"]["required"]


def test_pre_commit_runs_the_linter_at_commit_and_the_type_checker_at_push():
    hooks = {hook["id"]: hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format", "check-yaml", "check-added-large-files", "trailing-whitespace"} <= set(hooks)
    assert hooks["mypy"]["stages"] == ["pre-push"]
