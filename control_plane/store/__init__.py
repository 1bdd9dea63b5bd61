"""The only room that speaks SQL: tables, transactions, and one file of queries per noun."""
