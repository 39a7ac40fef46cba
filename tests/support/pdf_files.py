"""PDFs made with Pillow or by hand."""

from __future__ import annotations

import io

from PIL import Image


def colour_pdf(*colours: tuple[int, int, int], size: tuple[int, int] = (72, 144)) -> bytes:
    """A PDF with a page of each colour; a pixel of `size` is 1/72 inch."""
    pages = [Image.new("RGB", size, colour) for colour in colours]
    buffer = io.BytesIO()
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:], resolution=72)
    return buffer.getvalue()


def written_pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    data = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return data + b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        trailer,
        start,
    )


def blank_pdf(media_box: bytes, trailer: bytes = b"") -> bytes:
    return written_pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [%s] >>" % media_box,
        trailer=trailer,
    )


def form_pdf() -> bytes:
    """A page with a field that is filled in: red, by its appearance."""
    appearance = b"1 0 0 rg 0 0 72 72 re f"
    return written_pdf(
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] /DA (/Helv 0 Tf 0 g) >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] /Annots [4 0 R] >>",
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /F 4 /Rect [0 0 72 72] /P 3 0 R /AP << /N 5 0 R >> >>",
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 72 72] /Length %d >>\nstream\n%s\nendstream"
        % (len(appearance), appearance),
    )
