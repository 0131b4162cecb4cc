"""Azurite, Microsoft's emulator of Azure's storage, with blobs that Azure's own library has put there."""

import base64
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ResourceTypes,
    generate_account_sas,
)

ACCOUNT = "acme"
KEY = base64.b64encode(b"a key of an account, of some length").decode()
emulator = subprocess.Popen(
    [sys.argv[2], "--blobPort", "0", "--inMemoryPersistence", "--silent", "--disableTelemetry"],
    env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
    stdout=subprocess.PIPE,
    text=True,
    # It ends with this process, also if that is killed (PR_SET_PDEATHSIG of Linux).
    preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
)
ready = next(line for line in emulator.stdout if "listens on" in line)
url = f"{ready.split()[-1]}/{ACCOUNT}"
library = BlobServiceClient(url, credential={"account_name": ACCOUNT, "account_key": KEY}, api_version="2021-08-06")
blobs = json.loads(sys.argv[1])
for container in {container for container, _, _ in blobs}:
    library.create_container(container)
for container, name, body in blobs:
    library.get_blob_client(container, name).upload_blob(bytes.fromhex(body))
signature = generate_account_sas(
    ACCOUNT,
    KEY,
    ResourceTypes(object=True),
    AccountSasPermissions(read=True),
    datetime.now(timezone.utc) + timedelta(hours=1),
)
said = {"url": url, "account": ACCOUNT, "key": KEY, "signature": signature}
print("ready " + json.dumps(said), flush=True)
threading.Event().wait()
