"""Manuals as HTML or POD in Debian packages under permissive licences; one is held out for evaluation."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from english_html import sections as html_sections
from english_pod import sections as pod_sections
from packages import fetch, members

# name -> package, licence, the files that are read
PACKAGES = {
    "python": (
        "deb:python3.11-doc=3.11.2-6+deb12u9",
        "PSF-2.0",
        r"html/(?!_sources|_static|genindex|py-modindex|search).*\.html$",
    ),
    "postgresql": ("deb:postgresql-doc-15=15.20-0+deb12u1", "PostgreSQL", r"\.html$"),
    "django": (
        "deb:python-django-doc=3:3.2.25-0+deb12u7",
        "BSD-3-Clause",
        r"html/(?!_|genindex|search|contents).*\.html$",
    ),
    "apache2": ("deb:apache2-doc=2.4.71-1~deb12u1", "Apache-2.0", r"manual/en/.*\.html$"),
    "cmake": ("deb:cmake-doc=3.25.1-1", "BSD-3-Clause", r"html/(?!_|genindex|search).*\.html$"),
    "nodejs": ("deb:nodejs-doc=18.20.4+dfsg-1~deb12u3", "MIT", r"api/(?!all)[^/]*\.html$"),
    "libreoffice": ("deb:libreoffice-help-en-us=4:7.4.7-1+deb12u14", "MPL-2.0", r"/text/.*\.html$"),
    "sqlite": ("deb:sqlite3-doc=3.40.1-2+deb12u2", "public domain", r"\.html$"),
}
DOC = r"html/(?!_|genindex|search|.*modindex).*\.html$"
SCIENCE = {
    "astropy": ("deb:python-astropy-doc=5.2.1-2+deb12u1", "BSD-3-Clause", DOC),
    "biopython": ("deb:python-biopython-doc=1.80+dfsg-4", "Biopython (BSD-like)", r"\.html$"),
    "scikit-learn": ("deb:python-sklearn-doc=1.2.1+dfsg-1", "BSD-3-Clause", DOC),
    "scipy": ("deb:python-scipy-doc=1.10.1-2", "BSD-3-Clause", DOC),
    "scikit-image": ("deb:python-skimage-doc=0.19.3-8", "BSD-3-Clause", DOC),
    "statsmodels": ("deb:python-statsmodels-doc=0.13.5+dfsg-7", "BSD-3-Clause", DOC),
    "sympy": ("deb:python-sympy-doc=1.11.1-1", "BSD-3-Clause", DOC),
    "pandas": ("deb:python-pandas-doc=1.5.3+dfsg-2", "BSD-3-Clause", DOC),
    "rust": (
        "deb:rust-doc=1.63.0+dfsg1-2",
        "MIT or Apache-2.0",
        r"html/(book|reference|rust-by-example|nomicon|cargo|rustc|edition-guide)/.*\.html$",
    ),
}
SYSTEMS = {
    "erlang": (
        "deb:erlang-doc=1:25.2.3+dfsg-1+deb12u4",
        "Apache-2.0",
        r"doc/(design_principles|efficiency_guide|getting_started|programming_examples|reference_manual|tutorial)/.*\.html$"
        r"|lib/(stdlib|kernel|ssl|mnesia|inets)-[\d.]+/doc/html/.*\.html$",
    ),
    "llvm": (
        "deb:llvm-19-doc=1:19.1.7-3~deb12u1",
        "Apache-2.0 WITH LLVM-exception",
        r"html/(?!_|AMDGPU|genindex|search)[^/]*\.html$",
    ),
    "clang": (
        "deb:clang-19-doc=1:19.1.7-3~deb12u1",
        "Apache-2.0 WITH LLVM-exception",
        r"html/(?!_|genindex|search|DiagnosticsReference|ClangCommandLine|AttributeReference)[^/]*\.html$",
    ),
    "nova": ("deb:nova-doc=2:26.2.2-1~deb12u5", "Apache-2.0", DOC),
    "neutron": ("deb:neutron-doc=2:21.0.0-7+deb12u1", "Apache-2.0", DOC),
    "cinder": ("deb:cinder-doc=2:21.3.1-1~deb12u1", "Apache-2.0", DOC),
    "keystone": ("deb:keystone-doc=2:22.0.2-0+deb12u6", "Apache-2.0", DOC),
    "swift": ("deb:swift-doc=2.30.1-0+deb12u3", "Apache-2.0", r"base/(?!_|genindex|search).*\.html$"),
    "celery": ("deb:python-celery-doc=5.2.6-5", "BSD-3-Clause", DOC),
    "scrapy": ("deb:python-scrapy-doc=2.8.0-2", "BSD-3-Clause", DOC),
    "sqlalchemy": ("deb:python-sqlalchemy-doc=1.4.46+ds1-1", "MIT", DOC),
    "perl": ("deb:perl-doc=5.36.0-7+deb12u4", "Artistic-1.0-Perl", r"\.pod$"),
}
HELD_OUT = "sqlite"
LETTERS = re.compile(r"[A-Za-z]{3}")


def sections(name: str, cache: Path) -> Iterator[tuple[str, str, str, list[str]]]:
    """Group, page title, heading and blocks of every section with prose."""
    package, _, files = (PACKAGES | SCIENCE | SYSTEMS)[name]
    for path, content in members(fetch(package, cache), files):
        read = pod_sections if path.endswith(".pod") else html_sections
        for section in read(gzip.decompress(content) if path.endswith(".gz") else content):
            if LETTERS.search(section.heading):
                yield f"{name}/{path.rsplit('/', 1)[-1]}", section.page, section.heading, section.blocks
