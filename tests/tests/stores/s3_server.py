"""S3 and the Security Token Service: moto's server, which checks signatures with botocore, and permissions."""

import json
import os
import sys
import threading
import urllib.request

for name in list(os.environ):
    if name.startswith("AWS_"):
        del os.environ[name]
os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing")

import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"


def client(service):
    return boto3.client(service, endpoint_url=url, region_name="us-east-1")


def allow(*actions):
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


objects = json.loads(sys.argv[1])
s3, iam = client("s3"), client("iam")
for bucket in {bucket for bucket, _, _ in objects}:
    s3.create_bucket(Bucket=bucket)
for bucket, key, body in objects:
    s3.put_object(Bucket=bucket, Key=key, Body=bytes.fromhex(body))


def user(name, *actions):
    made = iam.create_user(UserName=name)["User"]
    policy = json.dumps(allow(*actions))
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return made["Arn"], {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


_, reader = user("reader", "s3:GetObject", "s3:ListBucket")
arn, nobody = user("nobody", "sts:AssumeRole")
trust = {
    "Effect": "Allow",
    "Principal": {"AWS": arn},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"sts:ExternalId": "an-id/1"}},
}
trust = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
role = iam.create_role(RoleName="reads", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
iam.put_role_policy(RoleName="reads", PolicyName="p", PolicyDocument=json.dumps(allow("s3:GetObject")))

# From now on signatures and permissions are checked.
headers = {"content-type": "text/plain"}
urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", headers))
ready = {"url": url, "reader": reader, "nobody": nobody, "role": role}
print("ready " + json.dumps(ready), flush=True)
threading.Event().wait()
