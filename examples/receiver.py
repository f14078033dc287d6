"""A receiver of alerts: verifies the signature of each webhook (Standard Webhooks 1.0.0).

SECRET=whsec_… python examples/receiver.py 8000
"""

import base64, hashlib, hmac, json, os, sys, time
