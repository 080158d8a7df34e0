"""The challenge page of ``tok_sandbox_action_required``: what a customer's bank would show."""

from __future__ import annotations

from html import escape

from zentra.simulator.store import Operation
from zentra.simulator.wire import Answer

# No script, no foreign content, no framing by another site.
HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Confirm your payment</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 26rem; margin: 3rem auto; padding: 0 1rem;
  color: #1a202c }}
main {{ border: 1px solid #cbd5e0; border-radius: .5rem; padding: 1.5rem }}
form {{ display: inline }}
button {{ font: inherit; padding: .5rem 1.25rem; margin: 1rem .5rem 0 0; border-radius: .25rem;
  border: 1px solid #2d3748; background: #fff; color: #2d3748; cursor: pointer }}
button[value=approve] {{ background: #22543d; border-color: #22543d; color: #fff }}
small {{ color: #4a5568 }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
<p>Payment <strong>{reference}</strong> of <strong>{amount} {currency}</strong> (minor units)</p>
{action}
<p><small>Sandbox acquirer. No money moves here.</small></p>
</main>
</body>
</html>
"""

FORMS = """<form method="post"><button name="decision" value="approve">Approve</button></form>
<form method="post"><button name="decision" value="decline">Decline</button></form>"""


def challenge_page(authorization: Operation, *, status: int = 200) -> Answer:
    """Return the page: the two forms while the customer has yet to decide, the outcome afterwards."""
    if authorization.status == "action_required":
        return _page(
            authorization, "Confirm your payment", "Your bank asks you to confirm this payment.", FORMS, status
        )
    return _page(authorization, "Payment confirmation", f"This payment is {authorization.status}.", "", status)


def decided(authorization: Operation) -> Answer:
    """Send the customer back to the shop, or show the outcome when the shop named no address."""
    if authorization.return_url is None:
        return challenge_page(authorization)
    return Answer(
        status=303,
        body=b"",
        content_type="text/html; charset=utf-8",
        headers=(*HEADERS, ("Location", authorization.return_url)),
    )


def _page(authorization: Operation, title: str, text: str, action: str, status: int) -> Answer:
    html = PAGE.format(
        title=escape(title),
        text=escape(text),
        reference=escape(authorization.merchant_reference or authorization.reference),
        amount=authorization.amount_minor,
        currency=escape(authorization.currency),
        action=action,
    )
    return Answer(status=status, body=html.encode(), content_type="text/html; charset=utf-8", headers=HEADERS)
