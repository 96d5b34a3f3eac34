"""Input that can't be used."""


class Refusal(Exception):
    """What is wrong, one line a finding. A command prints them and ends with exit code 2.

    A line names what was given, its value, and what is accepted.
    """

    def __init__(self, *findings: str) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings
