"""Cases: who must do what by when, from report to rating (采集 … 评价).

The case is `case`, what people do to it `acts`, the pure machine `workflow` (requests and their answers: `relief`), its
time `deadlines`, response plans `plans`, photos and papers `attachments`, and all of it in the database `log`.
"""
