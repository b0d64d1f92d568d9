"""Cases: who must do what by when, from report to rating (采集 … 评价).

The case is `case`, what people do to it `acts`, the pure machine `workflow` (what it shares with requests and their
answers, `relief`, is `moves`), its time `deadlines`, response plans `plans`, photos and papers `attachments`. All of it
in the database is `log`; which cases somebody wants to see, `wanted`.
"""
