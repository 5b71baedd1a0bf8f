"""Packs the VS Code extension: `python -m editors.vsix -o dist`.

A .vsix is a zip with a manifest. Nothing is compiled or bundled: what is in `editors/vscode` goes in as it is, with the
language client's packages beside it, which npm fetches by the digests in package-lock.json. Same inputs, same bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.sax.saxutils import escape, quoteattr

HERE = Path(__file__).parent / "vscode"
LICENSE = Path(__file__).parents[1] / "LICENSE"
SHIPPED = ("README.md", "extension.js", "language-configuration.json", "package.json", "snippets", "syntaxes")
_RUNS = (".js", ".cjs", ".mjs", ".json")
_LICENCES = ("licen", "copying", "notice", "thirdparty")
_TYPES = {".json": "application/json", ".js": "application/javascript", ".cjs": "application/javascript",
          ".mjs": "application/javascript", ".md": "text/markdown", ".txt": "text/plain",
          ".vsixmanifest": "text/xml", "": "text/plain"}
_GALLERY = "Microsoft.VisualStudio."
_NEW_YEAR = (1980, 1, 1, 0, 0, 0)  # the first day that a zip knows: no file's own time goes in


def main(words: list[str] | None = None) -> int:
    """Write the .vsix and print its path."""
    parser = argparse.ArgumentParser(prog="python -m editors.vsix", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("dist"), metavar="FOLDER", help="default: dist")
    parser.add_argument("--node-modules", type=Path, metavar="FOLDER",
                        help="the client's packages, where they are already; without it npm fetches them")
    arguments = parser.parse_args(words)
    try:
        if arguments.node_modules is not None:
            path = write(arguments.output, arguments.node_modules)
        else:
            with TemporaryDirectory() as folder:
                path = write(arguments.output, fetch(Path(folder)))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


def fetch(folder: Path) -> Path:
    """The client's packages as package-lock.json has them, without running any program of theirs. Needs npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on the PATH; install Node.js, or give --node-modules")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    words = [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(words, cwd=folder, check=True, stdout=sys.stderr)
    return folder / "node_modules"


def write(output: Path, node_modules: Path) -> Path:
    """The .vsix in the folder `output`; whole or not at all."""
    package = json.loads((HERE / "package.json").read_text("utf-8"))
    contents = _extension() | _client(node_modules, package["dependencies"])
    parts = {"[Content_Types].xml": _content_types(contents), "extension.vsixmanifest": manifest(package)}
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"{package['name']}-{package['version']}.vsix"
    unfinished = path.with_suffix(".vsix.part")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in (*((name, text.encode()) for name, text in parts.items()), *sorted(contents.items())):
                entry = zipfile.ZipInfo(name, _NEW_YEAR)
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _extension() -> dict[str, bytes]:
    found = {"extension/LICENSE.txt": LICENSE.read_bytes()}
    for name in SHIPPED:
        place = HERE / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            found[f"extension/{file.relative_to(HERE).as_posix()}"] = file.read_bytes()
    return found


def _client(node_modules: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """What of the packages runs, and their licences."""
    for name in wanted:
        if not (node_modules / name / "package.json").is_file():
            raise FileNotFoundError(f"{node_modules} has no {name}")
    found = {}
    for file in node_modules.rglob("*"):
        place = file.relative_to(node_modules)
        needed = file.suffix in _RUNS or file.name.lower().startswith(_LICENCES)
        if needed and file.is_file() and not place.parts[0].startswith("."):
            found[f"extension/node_modules/{place.as_posix()}"] = file.read_bytes()
    return found


def manifest(package: Mapping[str, Any]) -> str:
    """extension.vsixmanifest, in Visual Studio's schema of 2011 as VS Code's gallery reads it."""
    kinds = ",".join(package["extensionKind"])
    properties = {"Engine": package["engines"]["vscode"], "ExtensionDependencies": "", "ExtensionPack": "",
                  "ExtensionKind": kinds, "LocalizedLanguages": "", "ExecutesCode": "true"}
    assets = {f"{_GALLERY}Code.Manifest": "package.json", f"{_GALLERY}Services.Content.Details": "README.md",
              f"{_GALLERY}Services.Content.License": "LICENSE.txt"}
    extensions = [one for language in package["contributes"]["languages"] for one in language["extensions"]]
    tags = [*package["keywords"], *(f"__ext_{one.removeprefix('.')}" for one in extensions)]
    return "\n".join((
        '<?xml version="1.0" encoding="utf-8"?>',
        '<PackageManifest Version="2.0.0" xmlns="http://schemas.microsoft.com/developer/vsx-schema/2011">',
        "  <Metadata>",
        f'    <Identity Language="en-US" Id={quoteattr(package["name"])} Version={quoteattr(package["version"])} '
        f'Publisher={quoteattr(package["publisher"])}/>',
        f"    <DisplayName>{escape(package['displayName'])}</DisplayName>",
        f'    <Description xml:space="preserve">{escape(package["description"])}</Description>',
        f"    <Tags>{escape(','.join(tags))}</Tags>",
        f"    <Categories>{escape(','.join(package['categories']))}</Categories>",
        "    <GalleryFlags>Public</GalleryFlags>",
        "    <Properties>",
        *(f'      <Property Id="{_GALLERY}Code.{name}" Value={quoteattr(value)}/>'
          for name, value in properties.items()),
        "    </Properties>",
        "    <License>extension/LICENSE.txt</License>",
        "  </Metadata>",
        f'  <Installation><InstallationTarget Id="{_GALLERY}Code"/></Installation>',
        "  <Dependencies/>",
        "  <Assets>",
        *(f'    <Asset Type="{kind}" Path="extension/{path}" Addressable="true"/>' for kind, path in assets.items()),
        "  </Assets>", "</PackageManifest>", ""))


def _content_types(contents: Mapping[str, bytes]) -> str:
    """The MIME type of each suffix that occurs, as the Open Packaging Conventions want it."""
    suffixes = sorted({Path(name).suffix.lower() for name in contents} | {".vsixmanifest"})
    rows = "".join(f'<Default Extension="{suffix}" ContentType="{_TYPES.get(suffix, "application/octet-stream")}"/>'
                   for suffix in suffixes if suffix)
    plain = "".join(f'<Override PartName={quoteattr("/" + name)} ContentType="{_TYPES[""]}"/>'
                    for name in sorted(contents) if not Path(name).suffix)
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return f'{head}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">{rows}{plain}</Types>\n'


if __name__ == "__main__":
    sys.exit(main())
