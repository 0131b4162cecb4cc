"""S3 and the Security Token Service: moto's server, which checks signatures with botocore, and permissions."""

import json
import os
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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

# An instance of EC2 with this role: version 2 of its metadata service.
nobodys = boto3.client("sts", endpoint_url=url, region_name="us-east-1", aws_access_key_id=nobody["id"],
                       aws_secret_access_key=nobody["secret"])
issued = nobodys.assume_role(RoleArn=role, RoleSessionName="i-0", ExternalId="an-id/1")["Credentials"]


class Instance(BaseHTTPRequestHandler):
    def do_PUT(self):
        is_right = self.path == "/latest/api/token" and self.headers["x-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200 if is_right else 400, "seen==")

    def do_GET(self):
        roles = "/latest/meta-data/iam/security-credentials/"
        keys = {
            "Code": "Success",
            "AccessKeyId": issued["AccessKeyId"],
            "SecretAccessKey": issued["SecretAccessKey"],
            "Token": issued["SessionToken"],
            "Expiration": issued["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if self.headers["x-aws-ec2-metadata-token"] != "seen==":
            return self.answer(401, "")
        texts = {roles: "reads", f"{roles}reads": json.dumps(keys)}
        self.answer(200 if self.path in texts else 404, texts.get(self.path, ""))

    def answer(self, status, text):
        print(f"instance {self.command} {status}", flush=True)
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


instance = ThreadingHTTPServer(("127.0.0.1", 0), Instance)
threading.Thread(target=instance.serve_forever, daemon=True).start()

# From now on signatures and permissions are checked.
headers = {"content-type": "text/plain"}
urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", headers))
ready = {"url": url, "reader": reader, "nobody": nobody, "role": role,
         "instance": f"http://127.0.0.1:{instance.server_port}"}
print("ready " + json.dumps(ready), flush=True)
threading.Event().wait()
