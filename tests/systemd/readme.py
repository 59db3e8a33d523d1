"""The fenced blocks of README.md and conf/README.md, by section: what the check runs and pastes is what users run and paste."""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def blocks(title):
    """[(language, text)] of the section whose heading begins with `title`."""
    text = (ROOT / "README.md").read_text() + (ROOT / "conf/README.md").read_text()
    found = re.search(rf"^#+ {re.escape(title)}.*?\n(.*?)(?=^#+ |\Z)", re.sub(r"^```.*?^```", lambda m: m[0].replace("\n#", "\n\0#"),
                                                                            text, flags=re.M | re.S), re.M | re.S)
    assert found, f"README has no section {title}"
    body = found.group(1).replace("\n\0#", "\n#")
    return [(language, code) for language, code in re.findall(r"^```(\w*)\n(.*?)^```$", body, re.M | re.S)]


def block(title, language, index=0):
    fitting = [code for lang, code in blocks(title) if lang == language]
    assert len(fitting) > index, f"README's section {title} has no block {language} {index}"
    return fitting[index]
