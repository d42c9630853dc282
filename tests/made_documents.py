"""Documents of whole texts in formats that hold one document each, made by hand: pages, books, what offices write."""

from __future__ import annotations

from collections.abc import Sequence

from made_files import pdf, pdf_stream, zipped

CONTAINER = '<container><rootfiles><rootfile full-path="book.opf"/></rootfiles></container>'


def page_of(texts: Sequence[str]) -> bytes:
    return f"<html><body><main>{''.join(f'<p>{text}</p>' for text in texts)}</main></body></html>".encode()


def epub(texts: Sequence[str]) -> bytes:
    """Return a book of a chapter a text."""
    items = "".join(f'<item id="c{n}" href="{n}.html" media-type="text/html"/>' for n in range(len(texts)))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(texts)))
    package = f"<package><manifest>{items}</manifest><spine>{spine}</spine></package>"
    pages = {f"{n}.html": page_of([text]) for n, text in enumerate(texts)}
    return zipped({"META-INF/container.xml": CONTAINER, "book.opf": package, **pages})


def pdf_of_places(pages: Sequence[Sequence[tuple[int, int, str]]], info: str = "", points: int = 10) -> bytes:
    """Return a PDF of lines at these places of its pages, in letters of so many points."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>"]
    for placed in pages:
        shown = "\n".join(f"1 0 0 1 {x} {y} Tm ({text}) Tj" for x, y, text in placed)
        objects.append(pdf_stream(f"BT /F1 {points} Tf\n{shown}\nET"))
        of = f"/Contents {len(objects)} 0 R /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {of} >>")
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(pages)))
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"
    return pdf([*objects, f"<< {info} >>"], more=f"/Info {len(objects) + 1} 0 R")


def pdf_of_texts(texts: Sequence[str]) -> bytes:
    """Return a book of a page a text, in lines of twelve words."""
    lines = ([" ".join(text.split()[at : at + 12]) for at in range(0, len(text.split()), 12)] for text in texts)
    return pdf_of_places([[(40, 800 - 4 * at, line) for at, line in enumerate(page)] for page in lines], points=3)


# ---- what offices write: OPC (DOCX, PPTX) by its relations, and ODT

RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
CORE = "docProps/core.xml"


def relations(*pairs: tuple[str, str]) -> str:
    """Return the relations of a part: (kind, target), with ids r0, r1, …"""
    listed = "".join(
        f'<Relationship Id="r{n}" Type="{RELATIONS}/{kind}" Target="{to}"/>' for n, (kind, to) in enumerate(pairs)
    )
    return f"<Relationships>{listed}</Relationships>"


def office(main: str, *more: tuple[str, str], **members: str) -> bytes:
    """Return a package whose root names `main`, and its members by their paths."""
    top = relations(("officeDocument", main), ("metadata/core-properties", CORE), *more)
    return zipped({"_rels/.rels": top, **members})


def word(*body: str) -> str:
    return f'<w:document xmlns:w="w" xmlns:mc="mc"><w:body>{"".join(body)}</w:body></w:document>'


def word_p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(texts: Sequence[str]) -> bytes:
    return office("word/document.xml", **{"word/document.xml": word(*map(word_p, texts))})


def slide(*shapes: tuple[str, Sequence[str]]) -> str:
    """Return a slide of shapes: what each is for, and its paragraphs in XML."""
    made = (
        f"<p:sp><p:nvPr><p:ph {what}/></p:nvPr><p:txBody>{''.join(paragraphs)}</p:txBody></p:sp>"
        for what, paragraphs in shapes
    )
    return f'<p:sld xmlns:p="p" xmlns:a="a">{"".join(made)}</p:sld>'


def slide_p(text: str, level: int = 0) -> str:
    return f'<a:p><a:pPr lvl="{level}"/><a:r><a:t>{text}</a:t></a:r></a:p>'


def slides(pages: Sequence[str], more: dict[str, str] | None = None) -> bytes:
    """Return a show of slides in this order, which is the reverse of that of their names."""
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="r{n}"/>' for n in range(len(pages)))
    names = [f"slides/slide{len(pages) - n}.xml" for n in range(len(pages))]
    show = f'<p:presentation xmlns:p="p" xmlns:r="r"><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>'
    members = {
        "ppt/presentation.xml": show,
        "ppt/_rels/presentation.xml.rels": relations(*(("slide", name) for name in names)),
    }
    return office(
        "ppt/presentation.xml", **members, **{f"ppt/{name}": page for name, page in zip(names, pages)}, **(more or {})
    )


def pptx(texts: Sequence[str]) -> bytes:
    return slides([slide(("", [slide_p(text)])) for text in texts])


SPACES = (
    'xmlns:office="office" xmlns:text="text" xmlns:table="table" xmlns:style="style" xmlns:dc="dc" xmlns:meta="meta"'
)


def odt_of(body: str, styles: str = "", **members: str) -> bytes:
    content = f"<office:document-content {SPACES}><office:automatic-styles>{styles}</office:automatic-styles>"
    content += f"<office:body><office:text>{body}</office:text></office:body></office:document-content>"
    return zipped({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": content, **members})


def odt(texts: Sequence[str]) -> bytes:
    return odt_of("".join(f"<text:p>{text}</text:p>" for text in texts))
