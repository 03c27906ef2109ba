r"""Formulas of docstrings, which are written to be read in a terminal, as TeX.

>>> print(tex("r^2 / 2 if |r| <= delta"))
r^{2} / 2\text{ if }|r| \le \delta
>>> print(tex("sum of t_j log(p_j), at most 2^-15"))
\sum t_{j} \log(p_{j}),\text{ at most }2^{-15}
"""

import re
from collections.abc import Iterator

GREEK = {"alpha", "beta", "gamma", "delta", "epsilon"}
FUNCTIONS = {"cosh", "exp", "log", "max", "min", "tanh"}
OPERATORS = {"sigmoid", "sign", "softmax"}
DERIVATIVES = {"dloss": r"d\,\text{loss}", "d2loss": r"d^2\text{loss}", "db": "db", "db2": "db^2"}
SYMBOLS = {"<=": r"\le", ">=": r"\ge", "!=": r"\ne", "->": r"\to", "...": r"\ldots"}
NAMES = {"TP", "FP", "FN", "loss", "gradient", "hessian", "majorizer", "smooth", "coef"}
# The left side of a line of formulas.
LEFT = re.compile(r"^(?:d2?loss / db2?|(?:loss|gradient|hessian|majorizer)(?:_[a-z])?|f\(w\)) +=")
TOKEN = re.compile(
    r"""
      (?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)
    | (?P<word>[A-Za-z]\w*'*)
    | (?P<code>`[^`]*`)
    | (?P<symbol><=|>=|!=|->|\.\.\.|[^\s\w])
    | (?P<space>\s+)
    """,
    re.VERBOSE,
)


def is_formula(block: list[str]) -> bool:
    return bool(LEFT.match(block[0]))


def math(block: list[str]) -> str:
    """A block of lines `name = formula`, which may go on in the next one, as aligned rows."""
    rows = []
    for line in block:
        for part in re.split(r"(?<=;) {2,}", line.strip()):
            left, equals, right = part.partition(" = ") if _has_left(part) else ("", "", part)
            rows.append(f"{tex(left.strip())} &{equals.strip()} {tex(right.rstrip(';'))}")
    return "\\begin{array}{rl}\n" + " \\\\\n".join(rows) + "\n\\end{array}"


def _has_left(part: str) -> bool:
    return bool(re.match(r"[\w() /]*? += ", part)) and part[0] not in "(-+"


def tex(text: str) -> str:
    """A formula with words between."""
    text = re.sub(r"\bsum of\b(?! the)", "Sum", text)
    text = re.sub(r"\bsum over (.*?) of\b", r"Sum{\1}", text)
    return "".join(_pieces(text)).strip()


def _pieces(text: str) -> Iterator[str]:
    place = 0
    words = ""  # that follow one another, with the spaces around them: they are written as one text
    space = ""
    while place < len(text):
        token = TOKEN.match(text, place)
        assert token, text[place:]
        place = token.end()
        kind, value = str(token.lastgroup), token.group()
        if kind == "space":
            space = value
            continue
        is_words = kind == "word" and not _is_name(value)
        if words and not is_words:
            yield rf"\text{{{words}{space[:1]}}}"
            words = ""
        elif not words and len(space) > 1:
            yield r" \qquad "
        elif not words and not is_words:
            yield space
        if is_words:
            words += space[:1] + value
        elif value == "^":
            inside, place = _operand(text, place)
            yield f"^{{{tex(inside)}}}"
        elif value == "Sum" and text[place] == "{":
            end = text.index("}", place)
            yield rf"\sum_{{{tex(text[place + 1 : end])}}}"
            place = end + 1
        else:
            yield _TO_TEX[kind](value)
        space = ""
    if words:
        yield rf"\text{{{words}}}"


def _is_name(word: str) -> bool:
    stem = word.rstrip("'").partition("_")[0]
    return len(stem) == 1 or stem in (
        GREEK | FUNCTIONS | OPERATORS | NAMES | {"Sum"} | set(DERIVATIVES)
    )


def _operand(text: str, place: int) -> tuple[str, int]:
    """What `^` raises to, which begins at `place`, and where it ends."""
    if text[place] != "(":
        end = re.compile(r"-?\w+").match(text, place).end()  # type: ignore[union-attr]
        return text[place:end], end
    depth = 0
    for end in range(place, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            break
    return text[place + 1 : end], end + 1


def _word(word: str) -> str:
    stem, _, index = word.rstrip("'").partition("_")
    primes = word[len(word.rstrip("'")) :]
    if stem in GREEK | FUNCTIONS | {"Sum"}:
        stem = f"\\{stem.lower()}"
    elif stem in OPERATORS:
        stem = rf"\operatorname{{{stem}}}"
    elif stem in DERIVATIVES:
        stem = DERIVATIVES[stem]
    elif len(stem) > 1:
        stem = rf"\text{{{stem}}}"
    if len(index) > 1:
        index = rf"\text{{{index}}}"
    return stem + primes + (f"_{{{index}}}" if index else "")


def _number(number: str) -> str:
    mantissa, _, exponent = number.partition("e")
    power = f"10^{{{exponent}}}"
    return mantissa if not exponent else power if mantissa == "1" else rf"{mantissa} \cdot {power}"


_TO_TEX = {
    "number": _number,
    "word": _word,
    "code": lambda code: rf"\text{{{code[1:-1]}}}",
    "symbol": lambda symbol: SYMBOLS.get(symbol, symbol),
}
