"""Validate a dataset with `bids-validator-deno`, which brings its schema along: nothing is fetched."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from bids_refacer import processes

_PROGRAM = "bids-validator-deno"
# problems with the content of one file, which a run reports by itself and which do not keep it from other images
_CONTENT = ("SYMLINK_BROKEN", "EMPTY_FILE", "NIFTI_HEADER_UNREADABLE", "T1W_FILE_WITH_TOO_MANY_DIMENSIONS")


def find_validator() -> Path | None:
    """Path of the validator's program: beside the running Python, as in a virtual environment, or on PATH."""
    beside = Path(sys.executable).parent / _PROGRAM
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(_PROGRAM)
    return Path(found) if found else None


def validate(dataset: Path, *, content: bool = True, warnings: bool = False) -> list[str]:
    """Errors (and with `warnings` these too) of a raw or derivative dataset, one sentence each; none when it is valid.

    Without `content`, broken links, empty files, unreadable images and series are left out: they concern one image
    each, and must not keep the others from being processed. An absent or failing validator is a sentence too.
    """
    program = find_validator()
    if program is None:
        return [
            f"The program {_PROGRAM} is not installed, so {dataset} cannot be validated: "
            f"run 'pip install {_PROGRAM}', or use --skip-bids-validation."
        ]
    command = [str(program), str(dataset), *([] if warnings else ["--ignoreWarnings"]), "--format", "json"]
    done = processes.run(command, environ=_offline())
    try:
        issues = json.loads(done.output)["issues"]
    except (ValueError, KeyError, TypeError):
        said = " ".join((done.errors or done.output).split())[:300] or f"nothing (exit code {done.code})"
        return [f"{program} could not validate {dataset} and said: {said}; use --skip-bids-validation to go on."]
    messages = issues.get("codeMessages", {})
    severities = ("error", "warning") if warnings else ("error",)
    errors = [issue for issue in issues["issues"] if issue.get("severity") in severities]
    return [_sentence(issue, messages) for issue in errors if content or issue["code"] not in _CONTENT]


def _offline() -> dict[str, str]:
    """The environment without what makes the validator (or deno) use the network.

    It would read annexed files from remotes and schemas from the web; a proxy that refuses every connection stops both.
    """
    nowhere = "http://127.0.0.1:9"
    kept = {name: value for name, value in os.environ.items() if name not in ("BIDS_SCHEMA", "NO_PROXY", "no_proxy")}
    proxies = {name: nowhere for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
    return {**kept, **proxies, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}


def _sentence(issue: dict[str, Any], messages: dict[str, str]) -> str:
    code = issue["code"]
    location = str(issue.get("location", "")).lstrip("/") or "The dataset"
    what = " ".join(part for part in (code, issue.get("subCode")) if part)
    # the first sentence says what is wrong; the rest is advice on how to use the validator
    message = messages.get(code) or issue.get("issueMessage") or ""
    return f"{location}: {what}. {' '.join(message.split()).split('. ')[0].rstrip('.')}.".replace(". .", ".")
