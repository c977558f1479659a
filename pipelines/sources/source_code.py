"""Source code: every file is one document, with its programming language."""

from __future__ import annotations

from typing_extensions import override

from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.text import TextSource

_LANGUAGES = {
    "ada": "adb ads", "assembly": "asm s", "c": "c h", "c#": "cs", "c++": "cc cpp cxx hh hpp hxx",
    "clojure": "clj cljs",
    "cmake": "cmake", "cobol": "cbl cob", "crystal": "cr", "css": "css less scss", "cuda": "cu cuh",
    "dart": "dart", "elixir": "ex exs", "elm": "elm", "erlang": "erl hrl", "f#": "fs fsi", "fortran": "f f90 f95 for",
    "go": "go", "groovy": "gradle groovy", "haskell": "hs lhs", "java": "java", "javascript": "cjs js jsx mjs",
    "julia": "jl", "kotlin": "kt kts", "lisp": "el lisp", "lua": "lua", "nim": "nim", "nix": "nix",
    "objective-c": "mm", "ocaml": "ml mli", "pascal": "pas", "perl": "pl pm", "php": "php", "powershell": "ps1",
    "protobuf": "proto", "python": "py pyi pyx", "r": "r", "racket": "rkt", "ruby": "rb",
    "rust": "rs", "scala": "sc scala", "scheme": "scm", "shell": "bash fish sh zsh", "solidity": "sol", "sql": "sql",
    "svelte": "svelte", "swift": "swift", "terraform": "tf", "typescript": "cts mts ts tsx", "verilog": "sv v",
    "vhdl": "vhd vhdl", "vue": "vue", "zig": "zig",
}  # fmt: skip
_BY_ENDING = {f".{ending}": language for language, endings in _LANGUAGES.items() for ending in endings.split()}


class CodeSource(TextSource):
    """Files of source code; the title is the file's name, and the metadata has the language that its ending tells."""

    endings = tuple(_BY_ENDING)

    @override
    def _record(self, path: str, text: str) -> Record:
        name = path.rpartition("/")[2]
        # A file of another ending is code where the recipe says so.
        language = _BY_ENDING.get(name[name.rfind(".") :].lower())
        return Record(path, name, text, {} if language is None else {"language": language}, path)
