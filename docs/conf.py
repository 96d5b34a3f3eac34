"""Sphinx's settings: `make site` builds the site of the pages in this folder. See site.py."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import site

project = "cookiecutter-ray-tune"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["pictures"]

smartquotes_action = "D"  # only dashes
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
# Don't link names of other libraries, and words in numpydoc's types.
nitpick_ignore_regex = [("py:.*", rf"(?!{site.PACKAGE}\b).*")]
default_role = "code"  # single backticks in docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
napoleon_google_docstring = False
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"  # needs no other server, and searches offline
html_title = project
html_copy_source = html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
pygments_style, pygments_dark_style = "default", "github-dark"

linkcheck_anchors = False  # GitHub and others make theirs with JavaScript
linkcheck_timeout = 20


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", site.rename_search)
    app.connect("source-read", site.fill_in)
    app.connect("autodoc-process-signature", site.shorten)
