"""Indices: Dhan's name -> Kite's. An index that is not here has no name of ours.

Most names are the exchange's own short ones and the same at both; those that differ are in
pairs. Source: the public instrument lists of both brokers.
"""

from __future__ import annotations

_SAME = """
INDIA VIX|NIFTY 100|NIFTY 200|NIFTY 500|NIFTY ALPHA 50|NIFTY AUTO|NIFTY COMMODITIES|NIFTY CONSR DURBL
NIFTY CONSUMPTION|NIFTY DIV OPPS 50|NIFTY ENERGY|NIFTY FMCG|NIFTY GROWSECT 15|NIFTY HEALTHCARE
NIFTY LARGEMID250|NIFTY MEDIA|NIFTY METAL|NIFTY MICROCAP250|NIFTY MID LIQ 15|NIFTY MNC|NIFTY OIL AND GAS
NIFTY PHARMA|NIFTY PSU BANK|NIFTY PVT BANK|NIFTY REALTY|NIFTY SERV SECTOR|NIFTY TOTAL MKT
NIFTY100 LIQ 15|NIFTY100 QUALTY30|NIFTY200 QUALTY30|NIFTY200MOMENTM30|NIFTY50 VALUE 20
"""
_DIFFERENT = {
    "NIFTY": "NIFTY 50",
    "BANKNIFTY": "NIFTY BANK",
    "FINNIFTY": "NIFTY FIN SERVICE",
    "MIDCPNIFTY": "NIFTY MID SELECT",
    "NIFTYNXT50": "NIFTY NEXT 50",
    "NIFTYIT": "NIFTY IT",
    "NIFTYINFRA": "NIFTY INFRA",
    "NIFTYPSE": "NIFTY PSE",
    "NIFTYCPSE": "NIFTY CPSE",
    "NIFTYMCAP50": "NIFTY MIDCAP 50",
    "NIFTY MID100 FREE": "NIFTY MIDCAP 100",
    "NIFTY MIDCAP 150": "NIFTY MIDCAP 150",
    "NIFTY SMALLCAP 50": "NIFTY SMLCAP 50",
    "NIFTY SMALLCAP 100": "NIFTY SMLCAP 100",
    "NIFTY SMALLCAP 250": "NIFTY SMLCAP 250",
}
_NAMES = {name: name for line in _SAME.strip().splitlines() for name in line.split("|")} | _DIFFERENT

INDEX_NAMES = {
    **{("NSE", theirs): ours for theirs, ours in _NAMES.items()},
    ("BSE", "SENSEX"): "SENSEX",
    ("BSE", "BANKEX"): "BANKEX",
    ("BSE", "SNSX50"): "SNSX50",
}
"""Exchange and Dhan's trading symbol -> our trading symbol."""
