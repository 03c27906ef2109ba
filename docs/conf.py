"""The site: `make docs`. See `_site/` for what becomes of docstrings and formulas."""

import sys
from pathlib import Path

import fastloss

sys.path.insert(0, str(Path(__file__).parent))

project = "fastloss"
author = "The fastloss developers"
copyright = author
release = version = fastloss.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "matplotlib.sphinxext.plot_directive",
    "_site.extension",
]
exclude_patterns = ["_site"]
default_role = "py:obj"  # code of docstrings, which is a link where it names what there is
add_module_names = False
autodoc_typehints = "none"
autodoc_mock_imports = ["dask"]  # what `fastloss.dask` says needs nothing of it
autodoc_member_order = "bysource"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
# Shell and other code is not highlighted by guesses.
highlight_language = "python"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("svg", 100)]

html_theme = "pydata_sphinx_theme"
html_math_renderer = "mathml"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_title = f"fastloss {release}"
html_show_sourcelink = False
html_domain_indices = False  # the index has all names
html_theme_options = {
    "logo": {"text": "fastloss"},
    "navigation_with_keys": False,
    "show_prev_next": True,
    # Wide tables are in its place.
    "secondary_sidebar_items": {"**": ["page-toc"], "losses": [], "benchmarks": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
