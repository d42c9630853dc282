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


def pdf_of_texts(texts: Sequence[str]) -> bytes:
    """Return a book of a page a text, in lines of twelve words."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>"]
    for text in texts:
        words = text.split()
        lines = [" ".join(words[at : at + 12]) for at in range(0, len(words), 12)]
        shown = "\n".join(f"1 0 0 1 40 {800 - 4 * at} Tm ({line}) Tj" for at, line in enumerate(lines))
        objects.append(pdf_stream(f"BT /F1 3 Tf\n{shown}\nET"))
        of = f"/Contents {len(objects)} 0 R /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {of} >>")
    kids = " ".join(f"{5 + 2 * number} 0 R" for number in range(len(texts)))
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>"
    return pdf(objects)
