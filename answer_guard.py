"""Applies the rules of copier.yml to the answers that Cookiecutter and Cruft get.

Cookiecutter has no validators, but it loads the Jinja extension that cookiecutter.json names, and
before it writes anything it renders many templates, with the answers so far. So each rendering
checks the answers first, wherever they come from: a prompt, the command line, a user's config, a
replay file or .cruft.json.
"""

import functools
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jinja2 import Environment
from jinja2.ext import Extension
from jinja2.runtime import Context

HERE = Path(__file__).parent
SHOWN = 40  # characters of a refused answer


class Rules:
    """The questions of copier.yml, ready to be applied, and the texts of cookiecutter.json."""

    def __init__(self, copier_yml: str, cookiecutter_json: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        questions = {k: q for k, q in yaml.load(copier_yml, loader).items() if k[0] != "_"}
        jinja = Environment()
        jinja.filters["regex_search"] = lambda text, pattern: re.search(pattern, text)  # Copier's
        self.computed: dict[str, str] = {
            name: jinja.from_string(question["default"]).render()
            for name, question in questions.items()
            if question.get("when") is False and question["type"] == "str"
        }
        self.asked = {k: q for k, q in questions.items() if q.get("when") is not False}
        self.compiled = functools.cache(lambda text: jinja.from_string(text, self.computed))
        texts = json.loads(cookiecutter_json)
        self.own_texts = {text for text in texts.values() if isinstance(text, str)}
        self.compiled_derived = functools.cache(lambda name: jinja.from_string(texts[name]))
        self.derived = [k for k, v in texts.items() if k.startswith("__") and isinstance(v, str)]

    def objection(self, name: str, answer: object) -> str:
        """Return what is accepted, and the answer; nothing for a good answer."""
        question = self.asked[name]
        if answer == question["default"]:  # compiling a rule would take longer than all else
            return ""
        choices = question.get("choices")
        if choices and answer not in choices:
            return f"one of {', '.join(choices)}; not {name}={str(answer)[:SHOWN]!r}"
        if not isinstance(answer, str):
            return f"text; not {name}={str(answer)[:SHOWN]}"
        return str(self.compiled(question.get("validator", "")).render({name: answer})).strip()


# By content, because `cruft update` renders two versions of the template in one process.
read_rules = functools.lru_cache(Rules)


class GuardedContext(Context):
    """What a template sees while it is rendered; making one checks the answers in it."""

    def __init__(self, environment: Any, parent: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        environment.answer_guard.check(parent.get("cookiecutter", {}))
        super().__init__(environment, parent, *args, **kwargs)


class AnswerGuard(Extension):
    """Refuses a bad answer in one line, with exit code 2."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        texts = [(HERE / name).read_text("utf-8") for name in ("copier.yml", "cookiecutter.json")]
        self.rules = read_rules(*texts)
        self.answers: dict[str, Any] = {}  # Cookiecutter's own: it grows with every prompt
        self.accepted: dict[str, object] = {}
        environment.extend(answer_guard=self)
        environment.context_class = GuardedContext
        environment.globals.update(self.rules.computed)  # the derived defaults use them

    def check(self, answers: dict[str, Any]) -> None:
        """Check the answers that are new, and compute the derived values once all are there."""
        self.answers = answers
        new = {k: answers[k] for k in self.rules.asked if k in answers and k not in self.accepted}
        for name, answer in new.items():
            if objection := self.rules.objection(name, answer):
                refuse(objection)
        self.accepted |= new
        if new and len(self.accepted) == len(self.rules.asked):
            for name in self.rules.derived:
                if name in answers:  # of a replay file, or of Cruft: it may be old
                    template = self.rules.compiled_derived(name)
                    answers[name] = template.render(cookiecutter=answers)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Refuse an answer that Cookiecutter is about to evaluate as a template."""
        a_file = name is not None or self.environment.loader is not None  # or a file's path
        if not a_file and re.search("{[{%#]", source) and source not in self.rules.own_texts:
            names = (path.name for path in HERE.iterdir())
            hooks = (hook.read_text("utf-8") for hook in HERE.glob("hooks/*.py"))
            if source not in names and source not in hooks:
                asked = next((k for k in self.rules.asked if k not in self.answers), "a value")
                refuse(f"text without {{{{ or {{%; not {asked}={source[:SHOWN]!r}")
        return source


def refuse(message: str) -> NoReturn:
    print(f"Answer refused: {message}", file=sys.stderr)
    sys.exit(2)
